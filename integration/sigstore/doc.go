// Package sigstore contains tests of imagegate with a private Sigstore. The real Fulcio and Rekor
// run as separate processes. The real timestamp authority and a small OpenID Connect issuer run in
// the test process. The tests need neither a database nor network access.
//
// The package has its own Go module, so that imagegate does not depend on the code of these
// servers.
package sigstore
