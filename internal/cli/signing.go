package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/trust"
)

// These flags configure signing and the verification of keyless signatures.
var (
	keylessFlag       = &cli.BoolFlag{Name: "keyless", EnvVars: []string{"IMAGEGATE_KEYLESS"}, Usage: "sign with an OpenID Connect identity instead of a key. The identity comes from GitHub Actions, SIGSTORE_ID_TOKEN or a login in the browser"}
	tufMirrorFlag     = &cli.StringFlag{Name: "tuf-mirror", EnvVars: []string{"IMAGEGATE_TUF_MIRROR"}, Usage: "get the trusted root and the signing configuration from the TUF repository at `URL` (default: the public Sigstore)"}
	tufRootFlag       = &cli.StringFlag{Name: "tuf-root", EnvVars: []string{"IMAGEGATE_TUF_ROOT"}, Usage: "trust the TUF root metadata in `FILE`; needs --tuf-mirror (default: the root of the public Sigstore)"}
	identityTokenFlag = &cli.StringFlag{Name: "identity-token", EnvVars: []string{"IMAGEGATE_IDENTITY_TOKEN"}, Usage: "sign with the OpenID Connect token in `FILE`; needs --keyless"}
	signingConfigFlag = &cli.StringFlag{Name: "signing-config", EnvVars: []string{"IMAGEGATE_SIGNING_CONFIG"}, Usage: "sign with the Sigstore services that the signing configuration `FILE` lists"}

	identityFlags = []cli.Flag{
		&cli.StringFlag{Name: "certificate-identity", EnvVars: []string{"IMAGEGATE_CERTIFICATE_IDENTITY"}, Usage: "trust certificates whose identity is `SUBJECT`: an email address or the URL of a workflow"},
		&cli.StringFlag{Name: "certificate-identity-regexp", EnvVars: []string{"IMAGEGATE_CERTIFICATE_IDENTITY_REGEXP"}, Usage: "trust certificates whose identity matches `REGEXP`; it must match the whole identity"},
		&cli.StringFlag{Name: "certificate-oidc-issuer", EnvVars: []string{"IMAGEGATE_CERTIFICATE_OIDC_ISSUER"}, Usage: "require that the OpenID Connect issuer in the certificate is `URL`"},
		&cli.StringFlag{Name: "certificate-oidc-issuer-regexp", EnvVars: []string{"IMAGEGATE_CERTIFICATE_OIDC_ISSUER_REGEXP"}, Usage: "require that the issuer in the certificate matches `REGEXP`; it must match the whole issuer"},
		trustedRootFlag, tufMirrorFlag, tufRootFlag,
		&cli.BoolFlag{Name: "allow-unlogged", EnvVars: []string{"IMAGEGATE_ALLOW_UNLOGGED"}, Usage: "accept a keyless signature without an entry in the transparency log, if a timestamp proves the time of the signature"},
	}
)

// signatureFormat returns the format given with --signature-format. The default for a key is the
// legacy format, because most verifiers support it. The default for an identity is the bundle
// format, because only a bundle can store the proofs of newer logs.
func signatureFormat(c *cli.Context) (trust.Format, error) {
	switch form := c.String("signature-format"); {
	case form == "" && c.Bool("keyless"):
		return trust.Bundle, nil
	case form == "":
		return trust.Legacy, nil
	default:
		f, err := trust.ParseFormat(form)
		if err != nil {
			return f, exit.Usage(err)
		}
		return f, nil
	}
}

// trusted returns a Trust in the signers that the flags name: the public keys of --key, and the
// identity of --certificate-identity and --certificate-oidc-issuer.
func trusted(c *cli.Context) (trust.Trust, error) {
	t := trust.Trust{AllowUnlogged: c.Bool("allow-unlogged")}
	one := trust.Identity{Subject: c.String("certificate-identity"), SubjectPattern: c.String("certificate-identity-regexp"),
		Issuer: c.String("certificate-oidc-issuer"), IssuerPattern: c.String("certificate-oidc-issuer-regexp")}
	if one == (trust.Identity{}) {
		var err error
		t.Keys, err = trustedKeys(c)
		return t, err
	}
	switch {
	case one.Issuer == "" && one.IssuerPattern == "":
		return trust.Trust{}, exit.Usagef("--certificate-identity needs the issuer too: use --certificate-oidc-issuer URL")
	case one.Subject == "" && one.SubjectPattern == "":
		return trust.Trust{}, exit.Usagef("--certificate-oidc-issuer needs the identity too: use --certificate-identity SUBJECT")
	}
	if err := one.Check(); err != nil {
		return trust.Trust{}, exit.Usage(err)
	}
	t.Identities = []trust.Identity{one}
	var err error
	if t.Root, err = trustedRoot(c, true, ""); err != nil {
		return trust.Trust{}, err
	}
	if c.String("key") != "" {
		t.Keys, err = trustedKeys(c)
	}
	return t, err
}
