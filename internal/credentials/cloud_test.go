package credentials

import (
	"errors"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// asked is a cloud keychain that records the hosts that it is asked for.
type asked struct{ hosts []string }

func (a *asked) Resolve(r authn.Resource) (authn.Authenticator, error) {
	a.hosts = append(a.hosts, r.RegistryStr())
	return authn.FromConfig(authn.AuthConfig{RegistryToken: "token of the job"}), nil
}

func withRecorder(plainHTTP func(string) bool) (*keychain, *asked) {
	recorder := &asked{}
	k := &keychain{Options: Options{Getenv: func(string) string { return "" }, PlainHTTP: plainHTTP}}
	for _, c := range clouds() {
		k.clouds = append(k.clouds, cloud{c.serves, recorder})
	}
	return k, recorder
}

func TestCloudTokensGoToTheCloud(t *testing.T) {
	for registry, host := range map[string]string{
		"myregistry.azurecr.io":        "myregistry.azurecr.io",
		"myregistry-abc123.azurecr.io": "myregistry-abc123.azurecr.io",
		"myregistry.azurecr.cn":        "myregistry.azurecr.cn",
		"myregistry.azurecr.us":        "myregistry.azurecr.us",
		"ghcr.io":                      "ghcr.io",
		"ghcr.io:443":                  "ghcr.io",
		"gcr.io":                       "gcr.io",
		"eu.gcr.io":                    "eu.gcr.io",
		"europe-west1-docker.pkg.dev":  "europe-west1-docker.pkg.dev",
		"public.ecr.aws":               "public.ecr.aws",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com":          "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
		"123456789012.dkr.ecr-fips.us-gov-1.amazonaws.com":      "123456789012.dkr.ecr-fips.us-gov-1.amazonaws.com",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":      "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
		"123456789012.dkr-ecr.eu-west-1.on.aws":                 "123456789012.dkr-ecr.eu-west-1.on.aws",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com:443":      "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
		"123456789012.dkr-ecr.cn-1.on.amazonwebservices.com.cn": "123456789012.dkr-ecr.cn-1.on.amazonwebservices.com.cn",
	} {
		k, recorder := withRecorder(nil)
		repo, err := name.NewRepository(registry + "/team/app")
		if err != nil {
			t.Fatal(err)
		}
		if auth, err := k.Resolve(repo); err != nil || auth == authn.Anonymous || len(recorder.hosts) != 1 || recorder.hosts[0] != host {
			t.Errorf("%s: %v, %v, asked for %q", registry, auth, err, recorder.hosts)
		}
	}
}

// TestCloudTokensNeverGoToSimilarHosts checks that the keychain of a cloud is not called for hosts
// whose names are only similar to hosts of the cloud.
func TestCloudTokensNeverGoToSimilarHosts(t *testing.T) {
	real := []string{"x.azurecr.io", "ghcr.io", "gcr.io", "eu.gcr.io", "a-docker.pkg.dev", "public.ecr.aws", "123456789012.dkr.ecr.eu-west-1.amazonaws.com"}
	var hosts []string
	for _, r := range real {
		hosts = append(hosts, r+".attacker.test", "attacker.test."+r+".attacker.test", r+":8443", r+":80", r+".", "x"+r+"x", r+".io", "a.b."+r,
			r+"-attacker.test", "evil-"+r+"evil", r+"..attacker.test")
	}
	hosts = append(hosts,
		"X.AZURECR.IO", "x.AzureCR.io", "GHCR.io", "evilghcr.io", "notgcr.io", "evilazurecr.io", "azurecr.io", "x.azurecr.io.cn", "x-azurecr.io", "azurecr.io.x.com",
		"pkg.dev", "x.pkg.dev.evil.test", "evilpkg.dev", "docker.google.com", "storage.google.com", "a.b.gcr.io",
		"1234567890123.dkr.ecr.eu-west-1.amazonaws.com", "12345678901a.dkr.ecr.eu-west-1.amazonaws.com", "123456789012.dkr.ecr.amazonaws.com",
		"123456789012.dkr.ecr.eu-west-1.evil.amazonaws.com", "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil", "123456789012.dkr.ecr.eu-west-1.amazonaws.org",
		"123456789012-dkr-ecr-eu-west-1-amazonaws-com.attacker.test", "123456789012.dkr.ecr.s3.eu-west-1.amazonaws.com", "attacker.s3.amazonaws.com",
		"public.ecr.aws.attacker.test", "evil.public.ecr.aws", "x.azurecr.io.", "127.0.0.1:5000", "localhost:5000", "10.0.0.1")
	for _, host := range hosts {
		k, recorder := withRecorder(nil)
		if auth, err := k.Resolve(resource{host: host, full: host + "/team/app"}); err != nil || auth != authn.Anonymous || len(recorder.hosts) > 0 {
			t.Errorf("%s: %v, %v, asked for %q", host, auth, err, recorder.hosts)
		}
	}
	// A registry name with user information, such as name@host, does not name a valid host.
	for _, host := range []string{"x.azurecr.io@attacker.test", "ghcr.io:pw@attacker.test", "attacker.test#.azurecr.io", "attacker.test/x.azurecr.io", "attacker.test?.azurecr.io"} {
		k, recorder := withRecorder(nil)
		if _, err := k.Resolve(resource{host: host, full: host}); err != nil || len(recorder.hosts) > 0 {
			t.Errorf("%s: %v, asked for %q", host, err, recorder.hosts)
		}
	}
}

// TestCloudTokensNeverGoOverPlainHTTP checks that a registry that is used over plain HTTP gets no
// token, even if its host belongs to a cloud.
func TestCloudTokensNeverGoOverPlainHTTP(t *testing.T) {
	k, recorder := withRecorder(func(host string) bool { return host == "x.azurecr.io" })
	if auth, err := k.Resolve(resource{host: "x.azurecr.io", full: "x.azurecr.io/a"}); err != nil || auth != authn.Anonymous || len(recorder.hosts) > 0 {
		t.Errorf("%v, %v, %q", auth, err, recorder.hosts)
	}
}

// TestFailingCloudKeychainIsIgnored checks that an error of a cloud keychain is returned to the
// caller.
func TestFailingCloudKeychainIsIgnored(t *testing.T) {
	k := &keychain{Options: Options{Getenv: func(string) string { return "" }}, clouds: []cloud{{isGitHub, failing{}}}}
	if _, err := k.Resolve(resource{host: "ghcr.io", full: "ghcr.io/a"}); err == nil {
		t.Error("no error")
	}
}

type failing struct{}

func (failing) Resolve(authn.Resource) (authn.Authenticator, error) { return nil, errors.New("no") }
