package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/trust"
)

// Flags of those who sign, and of those who verify what identities signed.
var (
	keylessFlag       = &cli.BoolFlag{Name: "keyless", EnvVars: []string{"IMAGEGATE_KEYLESS"}, Usage: "sign with the identity of this job instead of a key: that of GitHub Actions, or the token in SIGSTORE_ID_TOKEN"}
	identityTokenFlag = &cli.StringFlag{Name: "identity-token", EnvVars: []string{"IMAGEGATE_IDENTITY_TOKEN"}, Usage: "sign with the identity that the OpenID Connect token in `FILE` states; with --keyless"}
	signingConfigFlag = &cli.StringFlag{Name: "signing-config", EnvVars: []string{"IMAGEGATE_SIGNING_CONFIG"}, Usage: "use the certificate authority, logs and timestamp authorities in the Sigstore signing configuration in `FILE`"}

	identityFlags = []cli.Flag{
		&cli.StringFlag{Name: "certificate-identity", EnvVars: []string{"IMAGEGATE_CERTIFICATE_IDENTITY"}, Usage: "trust the `SUBJECT` of a certificate, an email address or the URL of a workflow"},
		&cli.StringFlag{Name: "certificate-identity-regexp", EnvVars: []string{"IMAGEGATE_CERTIFICATE_IDENTITY_REGEXP"}, Usage: "trust subjects that `REGEXP` matches as a whole"},
		&cli.StringFlag{Name: "certificate-oidc-issuer", EnvVars: []string{"IMAGEGATE_CERTIFICATE_OIDC_ISSUER"}, Usage: "as the OpenID Connect issuer at `URL` states it"},
		&cli.StringFlag{Name: "certificate-oidc-issuer-regexp", EnvVars: []string{"IMAGEGATE_CERTIFICATE_OIDC_ISSUER_REGEXP"}, Usage: "as an issuer states it that `REGEXP` matches as a whole"},
		trustedRootFlag,
		&cli.BoolFlag{Name: "allow-unlogged", EnvVars: []string{"IMAGEGATE_ALLOW_UNLOGGED"}, Usage: "accept an identity's signature that is in no transparency log, where a timestamp proves its time"},
	}
)

// signatureFormat is the form that --signature-format names. What a key signs
// most consumers find in the legacy form; what an identity signs has the proof of
// newer logs in a bundle alone.
func signatureFormat(c *cli.Context) (trust.Format, error) {
	switch form := c.String("signature-format"); {
	case form == "" && c.Bool("keyless"):
		return trust.Bundle, nil
	case form == "":
		return trust.Legacy, nil
	default:
		f, err := trust.ParseFormat(form)
		if err != nil {
			return f, usageError{err}
		}
		return f, nil
	}
}

// loadSigner returns who signs: the key that --key names, or, with --keyless, the
// identity of whoever runs this.
func loadSigner(c *cli.Context, s Streams) (*trust.Signer, error) {
	keyless := c.Bool("keyless")
	switch {
	case keyless && c.String("key") != "":
		return nil, usagef("--key and --keyless exclude each other: one of them signs")
	case !keyless && c.String("identity-token") != "":
		return nil, usagef("--identity-token is for --keyless")
	}
	services, err := loadServices(c)
	if err != nil {
		return nil, err
	}
	if keyless {
		return loadKeyless(c, services)
	}
	key, err := loadKey(c, s)
	if err != nil {
		return nil, err
	}
	signer, err := trust.NewSigner(key, services)
	if err != nil {
		return nil, trustError{fmt.Errorf("using key %q: %w", c.String("key"), err)}
	}
	return signer, nil
}

// loadServices reads the services that witness signatures; none without
// --signing-config.
func loadServices(c *cli.Context) (trust.Services, error) {
	path := c.String("signing-config")
	if path == "" {
		return trust.Services{}, nil
	}
	data, err := readFile("signing configuration", path)
	if err != nil {
		return trust.Services{}, err
	}
	services, err := trust.LoadSigningConfig(data, time.Now())
	if err != nil {
		return trust.Services{}, usageError{fmt.Errorf("%s: %w", path, err)}
	}
	services.Transport, services.Now = registryTransport(stall), time.Now
	if services.Root, err = trustedRoot(c); err != nil {
		return trust.Services{}, err
	}
	if services.Root == nil {
		return trust.Services{}, usagef("--signing-config needs --trusted-root: what the services answer could not be verified")
	}
	if !c.Bool("keyless") {
		services.Fulcio = "" // a key needs no certificate
	}
	return services, nil
}

func loadKeyless(c *cli.Context, services trust.Services) (*trust.Signer, error) {
	if services.Fulcio == "" {
		return nil, usagef("--keyless needs --signing-config and --trusted-root: the services of your Sigstore, with a certificate authority")
	}
	token := trust.FileToken(c.String("identity-token"))
	if c.String("identity-token") == "" {
		var err error
		if token, err = trust.AmbientToken(os.Getenv, registryTransport(stall)); err != nil {
			return nil, usageError{err}
		}
	}
	signer, err := trust.NewKeyless(c.Context, token, services)
	if err != nil {
		return nil, trustError{fmt.Errorf("signing with an identity: %w", err)}
	}
	return signer, nil
}

// trusted says whose signatures count: those of the public keys that --key
// names, and of the identity that --certificate-identity and its issuer do.
func trusted(c *cli.Context) (trust.Trust, error) {
	t := trust.Trust{AllowUnlogged: c.Bool("allow-unlogged")}
	one := trust.Identity{Subject: c.String("certificate-identity"), SubjectPattern: c.String("certificate-identity-regexp"),
		Issuer: c.String("certificate-oidc-issuer"), IssuerPattern: c.String("certificate-oidc-issuer-regexp")}
	if one == (trust.Identity{}) {
		var err error
		t.Keys, err = trustedKeys(c)
		return t, err
	}
	if err := one.Check(); err != nil {
		return trust.Trust{}, usageError{err}
	}
	t.Identities = []trust.Identity{one}
	var err error
	if t.Root, err = trustedRoot(c); err != nil {
		return trust.Trust{}, err
	}
	if t.Root == nil {
		return trust.Trust{}, usageError{errNoTrustedRoot}
	}
	if c.String("key") != "" {
		t.Keys, err = trustedKeys(c)
	}
	return t, err
}

var errNoTrustedRoot = errors.New("--certificate-identity needs --trusted-root: certificates could not be verified")
