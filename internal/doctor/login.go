package doctor

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/internal/credentials"
	"github.com/imagegate/imagegate/internal/registry"
)

// refused returns the result for a registry that refuses a request. doing names the refused action.
func (a *access) refused(doing string, cause error) Result {
	err := registry.NewError(a.side, "trying to "+doing, cause)
	host, again := a.repo.RegistryStr(), loginCommand(a.repo.RegistryStr())
	because := func(format string, args ...any) Result {
		r := failed(err, again)
		r.Message = fmt.Sprintf(format, args...)
		return r
	}
	var config *credentials.ConfigError
	if errors.As(err, &config) {
		return failed(err, mendConfig(config))
	}
	status := statusOf(err)
	if m := ecrHost.FindStringSubmatch(host); m != nil && status == http.StatusNotFound {
		// Amazon ECR requires that the repository exists before the first push.
		return failed(err, fmt.Sprintf("aws ecr create-repository --region %s --repository-name %s", m[1], quote(a.repo.RepositoryStr())))
	}
	if status != http.StatusUnauthorized && status != http.StatusForbidden {
		return a.unreachable(err)
	}
	expired, dated := expiry(a.login)
	switch {
	case a.isAnonymous():
		return because("%s needs a login to %s, and no credentials for it were found", host, doing)
	case dated && !a.Now().Before(expired):
		return because("%s refuses %s: its token expired at %s, %s ago", host, a.who(), expired.UTC().Format(time.RFC3339), a.Now().Sub(expired).Round(time.Second))
	case !a.accepted:
		return because("%s refuses %s: the user, the password or the token is wrong", host, a.who())
	}
	return because("%s accepts %s, but does not let it %s: use a login with that right", host, a.who(), doing)
}

// absent returns the result for a staging image that the registry does not find.
func (a *access) absent(ref name.Reference) Result {
	if a.isAnonymous() {
		return warned(loginCommand(a.repo.RegistryStr()), "%s does not exist, or is hidden without a login", ref.Name())
	}
	return warned("docker push "+quote(ref.Name()), "%s may read %s, but %s does not exist yet", a.who(), a.repo.Name(), ref.Identifier())
}

func (a *access) isAnonymous() bool { return a.login == authn.AuthConfig{} }

// who describes the login that was used, as part of a sentence.
func (a *access) who() string {
	if a.isAnonymous() {
		return "everyone"
	}
	if a.Login == nil {
		return "the login"
	}
	return cmp.Or(a.Login(a.repo.RegistryStr()), "the login")
}

// expiry returns when the credentials expire, and whether that is known. It reads the expiry date
// of a JSON Web Token (RFC 7519), or of an Amazon ECR password, which is base64-encoded JSON. It
// does not verify the token.
func expiry(login authn.AuthConfig) (time.Time, bool) {
	for _, secret := range []string{login.RegistryToken, login.IdentityToken, login.Password} {
		if at, ok := tokenExpiry(secret); ok {
			return at, true
		}
	}
	return time.Time{}, false
}

func tokenExpiry(token string) (time.Time, bool) {
	raw, err := base64.StdEncoding.DecodeString(token)
	if parts := strings.Split(token, "."); len(parts) == 3 {
		raw, err = base64.RawURLEncoding.DecodeString(parts[1])
	}
	var claims struct {
		Exp        float64 `json:"exp"`
		Expiration float64 `json:"expiration"`
	}
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return time.Time{}, false
	}
	const latest = 1 << 40 // seconds; far behind any real date, and safe for time.Unix
	at := cmp.Or(claims.Exp, claims.Expiration)
	if at <= 0 || at > latest {
		return time.Time{}, false
	}
	return time.Unix(int64(at), 0), true
}

var (
	ecrHost = regexp.MustCompile(`^[0-9]+\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?$`)
	gcpHost = regexp.MustCompile(`^(?:[a-z0-9-]+-docker\.pkg\.dev|(?:[a-z]+\.)?gcr\.io)$`)
	acrHost = regexp.MustCompile(`^([a-z0-9]+)\.azurecr\.io$`)
)

// loginCommand returns the command that logs in to a registry. Registries of the large clouds have
// their own commands.
func loginCommand(host string) string {
	if host == name.DefaultRegistry {
		return "docker login"
	}
	if m := ecrHost.FindStringSubmatch(host); m != nil {
		return fmt.Sprintf("aws ecr get-login-password --region %s | docker login --username AWS --password-stdin %s", m[1], host)
	}
	if gcpHost.MatchString(host) {
		return "gcloud auth configure-docker " + host
	}
	if m := acrHost.FindStringSubmatch(host); m != nil {
		return "az acr login --name " + m[1]
	}
	return "docker login " + quote(host)
}

// mendConfig returns the command that fixes credentials that cannot be read.
func mendConfig(e *credentials.ConfigError) string {
	switch {
	case e.Helper != "":
		return quote(e.Helper) + " list"
	case filepath.IsAbs(e.File):
		return fmt.Sprintf("mv %s %s && %s", quote(e.File), quote(e.File+".bad"), loginCommand(e.Registry))
	}
	return "unset " + e.File // a variable
}
