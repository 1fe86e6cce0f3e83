package trust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// service is a simulated key management service with a key in memory.
type service struct {
	key crypto.Signer
	// opts are the signature options that the service uses.
	opts crypto.SignerOpts
}

func (s service) der(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (s service) pem(t testing.TB) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: s.der(t)}))
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// vault implements the API of Vault's transit engine:
// https://developer.hashicorp.com/vault/api-docs/secret/transit
func (s service) vault(t testing.TB) http.Handler {
	public, kind := s.pem(t), "ecdsa-p256"
	if k, ok := s.key.Public().(ed25519.PublicKey); ok {
		public, kind = base64.StdEncoding.EncodeToString(k), "ed25519"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/transit/keys/release", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"data": map[string]any{"latest_version": 2, "type": kind, "keys": map[string]any{
			"1": map[string]any{"name": kind, "public_key": "old"}, "2": map[string]any{"name": kind, "public_key": public}}}})
	})
	mux.HandleFunc("PUT /v1/transit/sign/release/{hash...}", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Input     []byte `json:"input"`
			Prehashed bool   `json:"prehashed"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Prehashed != (s.opts.HashFunc() != 0) || in.Prehashed != (r.PathValue("hash") == "sha2-256") {
			http.Error(w, `{"errors":["what is that?"]}`, http.StatusBadRequest)
			return
		}
		sig, err := s.key.Sign(rand.Reader, in.Input, s.opts)
		if err != nil {
			t.Error(err)
		}
		reply(w, map[string]any{"data": map[string]any{"signature": "vault:v2:" + base64.StdEncoding.EncodeToString(sig)}})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "token" {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// aws implements the API of AWS KMS: https://docs.aws.amazon.com/kms/latest/APIReference/
func (s service) aws(t testing.TB) http.Handler {
	algorithm := "ECDSA_SHA_256"
	if _, ok := s.key.Public().(*rsa.PublicKey); ok {
		algorithm = "RSASSA_PKCS1_V1_5_SHA_256"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=key/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		switch target := r.Header.Get("X-Amz-Target"); target {
		case "TrentService.GetPublicKey":
			reply(w, map[string]any{"PublicKey": s.der(t)})
		case "TrentService.DescribeKey":
			reply(w, map[string]any{"KeyMetadata": map[string]any{"KeyId": "x", "SigningAlgorithms": []string{algorithm}}})
		case "TrentService.Sign":
			var in struct{ Message []byte }
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				t.Error(err)
			}
			sig, err := s.key.Sign(rand.Reader, in.Message, s.opts)
			if err != nil {
				t.Error(err)
			}
			reply(w, map[string]any{"Signature": sig})
		default:
			http.Error(w, target, http.StatusBadRequest)
		}
	})
}

// azure implements the API of Azure Key Vault: https://learn.microsoft.com/rest/api/keyvault/keys
func (s service) azure(t testing.TB) http.Handler {
	enc := base64.RawURLEncoding.EncodeToString
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys/release/", func(w http.ResponseWriter, r *http.Request) {
		jwk := map[string]any{"kid": "https://" + r.Host + "/keys/release/v7"}
		switch k := s.key.Public().(type) {
		case *ecdsa.PublicKey:
			raw, err := k.Bytes()
			if err != nil {
				t.Error(err)
			}
			n := (len(raw) - 1) / 2
			jwk["kty"], jwk["crv"], jwk["x"], jwk["y"] = "EC-HSM", k.Curve.Params().Name, enc(raw[1:n+1]), enc(raw[n+1:])
		case *rsa.PublicKey:
			jwk["kty"], jwk["n"], jwk["e"] = "RSA", enc(k.N.Bytes()), enc(big.NewInt(int64(k.E)).Bytes())
		}
		reply(w, map[string]any{"key": jwk})
	})
	mux.HandleFunc("POST /keys/release/v7/sign", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Alg, Value string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		digest, err := base64.RawURLEncoding.DecodeString(in.Value)
		if err != nil {
			t.Error(err)
		}
		sig, err := s.key.Sign(rand.Reader, digest, s.opts)
		if err != nil {
			t.Error(err)
		}
		if in.Alg == "ES256" {
			var rs struct{ R, S *big.Int }
			if _, err := asn1.Unmarshal(sig, &rs); err != nil {
				t.Error(err)
			}
			sig = append(rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))...)
		}
		reply(w, map[string]any{"value": enc(sig)})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token" {
			w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.example/tenant", resource="https://vault.azure.net"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

type azureToken struct{}

func (azureToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// google implements the API of Google Cloud KMS, google.cloud.kms.v1.KeyManagementService.
type google struct {
	kmspb.UnimplementedKeyManagementServiceServer
	t testing.TB
	s service
}

const googleKey = "projects/p/locations/l/keyRings/r/cryptoKeys/release"

func (g google) version() *kmspb.CryptoKeyVersion {
	algorithm := kmspb.CryptoKeyVersion_EC_SIGN_P256_SHA256
	if _, ok := g.s.key.Public().(*rsa.PublicKey); ok {
		algorithm = kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_2048_SHA256
	}
	return &kmspb.CryptoKeyVersion{Name: googleKey + "/cryptoKeyVersions/7", Algorithm: algorithm}
}

func (g google) GetCryptoKey(_ context.Context, in *kmspb.GetCryptoKeyRequest) (*kmspb.CryptoKey, error) {
	if in.GetName() != googleKey {
		return nil, errors.New("no such key")
	}
	return &kmspb.CryptoKey{Name: in.GetName(), Purpose: kmspb.CryptoKey_ASYMMETRIC_SIGN}, nil
}

func (g google) ListCryptoKeyVersions(context.Context, *kmspb.ListCryptoKeyVersionsRequest) (*kmspb.ListCryptoKeyVersionsResponse, error) {
	return &kmspb.ListCryptoKeyVersionsResponse{CryptoKeyVersions: []*kmspb.CryptoKeyVersion{g.version()}}, nil
}

func (g google) GetPublicKey(context.Context, *kmspb.GetPublicKeyRequest) (*kmspb.PublicKey, error) {
	text := g.s.pem(g.t)
	return &kmspb.PublicKey{Pem: text, Name: g.version().GetName(), PemCrc32C: castagnoli([]byte(text))}, nil
}

func (g google) AsymmetricSign(_ context.Context, in *kmspb.AsymmetricSignRequest) (*kmspb.AsymmetricSignResponse, error) {
	sig, err := g.s.key.Sign(rand.Reader, in.GetDigest().GetSha256(), g.s.opts)
	if err != nil {
		return nil, err
	}
	return &kmspb.AsymmetricSignResponse{Signature: sig, SignatureCrc32C: castagnoli(sig), VerifiedDigestCrc32C: true, Name: in.GetName()}, nil
}

func castagnoli(b []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))))
}

// open starts a server for the service with the given scheme, and opens its key.
func (s service) open(t *testing.T, scheme string) (Key, error) {
	t.Helper()
	switch scheme {
	case schemeVault:
		server := httptest.NewServer(s.vault(t))
		t.Cleanup(server.Close)
		return OpenKMS(t.Context(), "hashivault://release", KMSOptions{VaultAddress: server.URL, VaultToken: "token"})
	case schemeAWS:
		t.Setenv("AWS_ACCESS_KEY_ID", "key")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
		t.Setenv("AWS_REGION", "eu-central-1")
		t.Setenv("AWS_CA_BUNDLE", "")
		server := httptest.NewTLSServer(s.aws(t))
		t.Cleanup(server.Close)
		return OpenKMS(t.Context(), "awskms://"+server.Listener.Addr().String()+"/alias/release", KMSOptions{client: server.Client()})
	case schemeAzure:
		server := httptest.NewTLSServer(s.azure(t))
		t.Cleanup(server.Close)
		return OpenKMS(t.Context(), "azurekms://"+server.Listener.Addr().String()+"/release", KMSOptions{client: server.Client(),
			azure: &azureOptions{credential: azureToken{}, client: azkeys.ClientOptions{DisableChallengeResourceVerification: true}}})
	case schemeGCP:
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		kmspb.RegisterKeyManagementServiceServer(server, google{t: t, s: s})
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(server.Stop)
		return OpenKMS(t.Context(), "gcpkms://"+googleKey, KMSOptions{google: []option.ClientOption{option.WithEndpoint(listener.Addr().String()),
			option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials()))}})
	}
	t.Fatalf("unknown scheme %q", scheme)
	return nil, nil
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestCosignAcceptsSignaturesByAService checks that cosign accepts signatures by a key in each
// service. It uses the real client of the service with a simulated server.
func TestCosignAcceptsSignaturesByAService(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		scheme string
		service
	}{
		"AWS ECDSA":     {schemeAWS, service{ecKey(t, elliptic.P256()), crypto.SHA256}},
		"AWS RSA":       {schemeAWS, service{rsaKey(t), crypto.SHA256}},
		"Google ECDSA":  {schemeGCP, service{ecKey(t, elliptic.P256()), crypto.SHA256}},
		"Google RSA":    {schemeGCP, service{rsaKey(t), crypto.SHA256}},
		"Azure ECDSA":   {schemeAzure, service{ecKey(t, elliptic.P256()), crypto.SHA256}},
		"Azure RSA":     {schemeAzure, service{rsaKey(t), crypto.SHA256}},
		"Vault ECDSA":   {schemeVault, service{ecKey(t, elliptic.P256()), crypto.SHA256}},
		"Vault Ed25519": {schemeVault, service{edKey, crypto.Hash(0)}},
	} {
		t.Run(what, func(t *testing.T) {
			key, err := c.open(t, c.scheme)
			if err != nil {
				t.Fatal(err)
			}
			s, err := NewSigner(key, Services{})
			if err != nil {
				t.Fatal(err)
			}
			if Fingerprint(s.PublicKey()) != Fingerprint(c.key.Public()) {
				t.Error("another public key")
			}
			repo := newRepo(t, "app")
			digest := pushImage(t, repo, what)
			storeLayers(t, s, repo, digest)
			if sig, att := cosignAccepts(t, c.key.Public(), repo.Digest(digest.String())); sig != nil || att != nil {
				t.Errorf("cosign refuses: %v, %v", sig, att)
			}
		})
	}
}

// TestUnexpectedSignatureByAServiceIsRefused checks that a signature is refused if the service
// signs with another hash, padding or key than expected.
func TestUnexpectedSignatureByAServiceIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		scheme string
		service
	}{
		"another padding": {schemeVault, service{rsaKey(t), &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: rsa.PSSSaltLengthEqualsHash}}},
		"another key":     {schemeVault, service{impostor{ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())}, crypto.SHA256}},
		"Google":          {schemeGCP, service{impostor{ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())}, crypto.SHA256}},
		"Azure":           {schemeAzure, service{impostor{ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())}, crypto.SHA256}},
		"AWS":             {schemeAWS, service{impostor{ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())}, crypto.SHA256}},
		"another curve":   {schemeAzure, service{ecKey(t, elliptic.P384()), crypto.SHA256}},
	} {
		t.Run(what, func(t *testing.T) {
			s, err := c.open(t, c.scheme)
			if err == nil {
				_, err = s.Sign(t.Context(), []byte("message"))
			}
			if err == nil {
				t.Error("signed")
			}
		})
	}
}

// impostor is a service that signs with another key than the one whose public key it returns.
type impostor struct {
	crypto.Signer
	shown crypto.Signer
}

func (i impostor) Public() crypto.PublicKey { return i.shown.Public() }

// TestUnknownSchemeRunsNoProgram checks that an unknown scheme does not run a program in the PATH.
// sigstore's own registry of services would run a program named after the scheme.
func TestUnknownSchemeRunsNoProgram(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	script := fmt.Sprintf("#!/bin/sh\necho \"$0\" >> %s\n", ran)
	for _, program := range []string{"sigstore-kms-evil", "sigstore-kms-fakekms", "az", "azd", "pwsh", "gcloud", "vault", "helper"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".vault"), []byte(`token_helper = "`+filepath.Join(dir, "helper")+`"`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("HOME", home)
	t.Setenv("AZURE_CLIENT_ID", "")
	t.Setenv("VAULT_ADDR", "https://127.0.0.1:1")
	offline := &http.Client{Transport: refusing{}}
	for _, ref := range []string{"evil://key", "fakekms://key", "openbao://key", "AWSKMS://key", "://key", "awskms", "", "hashivault://key", "azurekms://x.vault.azure.net/key", "azurekms://x"} {
		if s, err := OpenKMS(t.Context(), ref, KMSOptions{client: offline, azure: &azureOptions{client: azkeys.ClientOptions{
			ClientOptions: azcore.ClientOptions{Transport: offline, Retry: policy.RetryOptions{MaxRetries: -1}}}}}); err == nil {
			t.Errorf("%q: %v", ref, s)
		}
	}
	if got, err := os.ReadFile(ran); err == nil {
		t.Errorf("%s was run", bytes.TrimSpace(got))
	}
}

// refusing is a transport that connects only to a test server for Azure Key Vault, which requires a
// token.
type refusing struct{}

func (refusing) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Host, ".vault.azure.net") {
		return nil, errors.New("offline")
	}
	w := httptest.NewRecorder()
	w.Header().Set("WWW-Authenticate", `Bearer authorization="https://login.example/tenant", resource="https://vault.azure.net"`)
	w.WriteHeader(http.StatusUnauthorized)
	answer := w.Result()
	answer.Request = r
	return answer, nil
}

// TestTokenIsInNoError checks that errors of Azure Key Vault do not contain the access token.
func TestTokenIsInNoError(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	_, err := OpenKMS(t.Context(), "hashivault://release", KMSOptions{VaultAddress: server.URL, VaultToken: "s.secret"})
	if err == nil || strings.Contains(err.Error(), "s.secret") {
		t.Errorf("%v", err)
	}
}
