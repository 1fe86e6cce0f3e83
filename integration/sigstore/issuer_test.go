package sigstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// issuer is an OpenID Connect provider with one user, who consents to every login request.
type issuer struct {
	server *httptest.Server
	signer jose.Signer
	keys   json.RawMessage
	asked  atomic.Int64
	logins atomic.Int64

	mu      sync.Mutex
	pending map[string]url.Values // the parameters of the login requests, by code
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{pending: map[string]url.Values{}}
	options := (&jose.SignerOptions{}).WithHeader("kid", "k")
	if i.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options); err != nil {
		t.Fatal(err)
	}
	if i.keys, err = (jose.JSONWebKey{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}).MarshalJSON(); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	i.server = httptest.NewServer(mux)
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"keys": []json.RawMessage{i.keys}})
	})
	mux.HandleFunc("/auth", i.authorize)
	mux.HandleFunc("/token", i.exchange)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": i.server.URL, "jwks_uri": i.server.URL + "/keys",
			"authorization_endpoint": i.server.URL + "/auth", "token_endpoint": i.server.URL + "/token",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"ES256"}, "code_challenge_methods_supported": []string{"S256"}})
	})
	return i
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// token returns an identity token, like the token that a CI job gets.
func (i *issuer) token(context.Context) (string, error) { return i.issue("") }

func (i *issuer) issue(nonce string) (string, error) {
	i.asked.Add(1)
	now := time.Now()
	return jwt.Signed(i.signer).Claims(jwt.Claims{Issuer: i.server.URL, Subject: email, Audience: jwt.Audience{"sigstore"},
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(5 * time.Minute))}).
		Claims(map[string]any{"email": email, "email_verified": true, "nonce": nonce}).Serialize()
}

// authorize redirects the browser back to the client with a code:
// https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth
func (i *issuer) authorize(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()
	if asked.Get("client_id") != "sigstore" || asked.Get("response_type") != "code" || asked.Get("code_challenge_method") != "S256" {
		http.Error(w, "not what a Sigstore asks for", http.StatusBadRequest)
		return
	}
	i.logins.Add(1)
	code := rand.Text()
	i.mu.Lock()
	i.pending[code] = asked
	i.mu.Unlock()
	back := url.Values{"code": {code}, "state": {asked.Get("state")}}
	http.Redirect(w, r, asked.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// exchange returns the token for a code. It accepts each code only once, and only from the client
// that requested it.
func (i *issuer) exchange(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	i.mu.Lock()
	asked, ok := i.pending[code]
	delete(i.pending, code)
	i.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || asked.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	token, err := i.issue(asked.Get("nonce"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"access_token": "of no use", "token_type": "Bearer", "id_token": token})
}
