package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// pkcs8Of encodes a private key without encryption.
func pkcs8Of(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// privateKeys returns one key of each supported type and size.
func privateKeys(t testing.TB) map[string]any {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"p256": ecKey(t, elliptic.P256()), "p384": ecKey(t, elliptic.P384()), "p521": ecKey(t, elliptic.P521()),
		"rsa": rsaKey, "ed25519": ed,
	}
}

// works checks that signatures by the key are accepted by this package and by the verifier of
// "cosign verify --key".
func works(t *testing.T, key Key) {
	t.Helper()
	s, err := NewSigner(key, Services{})
	if err != nil {
		t.Fatal(err)
	}
	tr := Trust{Keys: []crypto.PublicKey{s.PublicKey()}}
	if _, _, err := tr.VerifyEnvelope(attest(t, s, "x", "{}", digestOf("a")), digestOf("a")); err != nil {
		t.Error(err)
	}
	sig, err := key.Sign(t.Context(), []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := signature.LoadVerifier(s.PublicKey(), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.VerifySignature(bytes.NewReader(sig), strings.NewReader("message")); err != nil {
		t.Errorf("cosign refuses: %v", err)
	}
}

func TestPlainKeysAreRead(t *testing.T) {
	keys := privateKeys(t)
	files := map[string][]byte{}
	for kind, key := range keys {
		files[kind] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8Of(t, key)})
	}
	sec1, err := x509.MarshalECPrivateKey(keys["p256"].(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	files["sec1"] = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})
	files["sec1 by openssl"] = append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), files["sec1"]...)
	files["pkcs1"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(keys["rsa"].(*rsa.PrivateKey))})
	for kind, data := range files {
		t.Run(kind, func(t *testing.T) {
			s, err := LoadKey(data, func() ([]byte, error) { return nil, errors.New("a password was asked for") })
			if err != nil {
				t.Fatal(err)
			}
			works(t, s)
		})
	}
}

// TestEncryptedKeysSignWhatCosignVerifies checks that cosign accepts signatures by each type of
// encrypted key. For three types, cosign's key loader selects another hash than cosign's verifier,
// so LoadKey must not use the loader.
func TestEncryptedKeysSignWhatCosignVerifies(t *testing.T) {
	for kind, key := range privateKeys(t) {
		box, err := encrypted.Encrypt(pkcs8Of(t, key), []byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(kind, func(t *testing.T) {
			label := "ENCRYPTED SIGSTORE PRIVATE KEY"
			if kind == "p256" {
				label = "ENCRYPTED COSIGN PRIVATE KEY" // the PEM label that cosign 1 wrote
			}
			asked := 0
			s, err := LoadKey(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: box}), func() ([]byte, error) {
				asked++
				return []byte("secret"), nil
			})
			if err != nil || asked != 1 {
				t.Fatalf("asked %d times, %v", asked, err)
			}
			works(t, s)
		})
	}
}

// opensslKey is a test key, made with "openssl pkcs8 -topk8". Its password is "secret".
const opensslKey = `-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAjerg1fvC0QwAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEECLarc682updWa/3lPm+FTIEgZD0
A7HnIgPdnTFb02m4qAghSoR/1D/bBeGAeTKy/gnkftSEh7NaS2SSMWAmbWjeilCa
jie5v7cjlzJx1iisV2BSx3C0il2aG6sHTH2o4WUJuPw4NVoMRKGI1j38iPtgyaLT
66pWzO4odycFLTlZkV7w9zJJ1effuNf6n2OIvUvkzQTpiQGw7gju6WxgiXR5Th8=
-----END ENCRYPTED PRIVATE KEY-----
`

func TestKeyEncryptedByOpensslIsRead(t *testing.T) {
	s, err := LoadKey([]byte(opensslKey), func() ([]byte, error) { return []byte("secret"), nil })
	if err != nil {
		t.Fatal(err)
	}
	works(t, s)
}

func TestNoPasswordMeansTheEmptyPassword(t *testing.T) {
	for what, password := range map[string][]byte{"nil": nil, "empty": {}} {
		private, _, err := GenerateKey(password)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(private, []byte("ENCRYPTED")) {
			t.Errorf("%s: the key is not encrypted", what)
		}
		if _, err := LoadKey(private, func() ([]byte, error) { return nil, nil }); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestUnusableKeysAreRefused(t *testing.T) {
	private, public, err := GenerateKey([]byte("the secret word"))
	if err != nil {
		t.Fatal(err)
	}
	right := func() ([]byte, error) { return []byte("the secret word"), nil }
	wrong := func() ([]byte, error) { return []byte("another secret"), nil }
	none := errors.New("no terminal to ask at")
	weak := ecKey(t, elliptic.P224())
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		data     []byte
		password func() ([]byte, error)
		says     string
	}{
		"wrong password":    {private, wrong, "the password is wrong"},
		"wrong for openssl": {[]byte(opensslKey), wrong, "the password is wrong"},
		"no password":       {private, func() ([]byte, error) { return nil, none }, none.Error()},
		"public key":        {public, right, "PUBLIC KEY"},
		"not PEM":           {[]byte("hello"), right, "no private key in PEM"},
		"parameters alone":  {[]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), right, "no private key in PEM"},
		"two keys":          {append(bytes.Clone(private), private...), right, "more than one"},
		"cut short":         {private[:len(private)/2], right, "no private key in PEM"},
		"damaged content":   {bytes.Replace(private, []byte("\ney"), []byte("\nez"), 1), right, "damaged"},
		"short curve":       {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8Of(t, weak)}), right, "using the key"},
		"key agreement":     {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8Of(t, agreement)}), right, "using the key"},
	} {
		s, err := LoadKey(c.data, c.password)
		if err == nil || s != nil {
			t.Errorf("%s: loaded", what)
			continue
		}
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not say %q", what, err, c.says)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", what, err)
		}
	}
	if _, err := LoadKey(private, right); err != nil {
		t.Error(err)
	}
	if _, err := LoadKey(private, func() ([]byte, error) { return nil, none }); !errors.Is(err, none) {
		t.Errorf("the reason for not getting a password is lost: %v", err)
	}
}

func TestUnusablePublicKeysAreRefused(t *testing.T) {
	private, public, err := GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(key any) []byte {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{
		"private": private, "empty": nil, "blank": []byte("\n \n"), "text": []byte("x"),
		"key and text":          append(bytes.Clone(public), "x"...),
		"short curve":           encode(&ecKey(t, elliptic.P224()).PublicKey),
		"key agreement":         encode(agreement.PublicKey()),
		"one good, one useless": append(bytes.Clone(public), encode(agreement.PublicKey())...),
	} {
		if keys, err := LoadPublicKeys(data); err == nil || keys != nil {
			t.Errorf("%s: %v, %v", what, keys, err)
		}
	}
}

func TestEitherOfTwoKeysVerifies(t *testing.T) {
	signers := []*Signer{newSigner(t), newSigner(t)}
	var file []byte
	for _, s := range signers {
		public, err := cryptoutils.MarshalPublicKeyToPEM(s.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		file = fmt.Appendf(file, "\n%s\n", public)
	}
	keys, err := LoadPublicKeys(file)
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for i, s := range signers {
		_, by, err := (Trust{Keys: keys}).VerifyEnvelope(attest(t, s, "x", "{}", digestOf("a")), digestOf("a"))
		if err != nil || by.Key != Fingerprint(s.PublicKey()) {
			t.Errorf("key %d: %s, %v", i, by, err)
		}
	}
}
