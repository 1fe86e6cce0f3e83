// Package sigstore holds no code of the product, only tests of it against a
// private Sigstore: the real Fulcio and Rekor as processes of their own, the real
// timestamp authority in this one, and a small OpenID Connect issuer. They need neither a
// database nor a network.
//
// It is a module of its own because those servers are no dependency of the
// product.
package sigstore
