// Package sigstore only has tests of the product against a private Sigstore. The real Fulcio and
// Rekor run as processes. The real timestamp authority and a small OpenID Connect issuer run in the
// test process. The tests need neither a database nor a network.
//
// It is a module of its own because the product must not depend on those servers.
package sigstore
