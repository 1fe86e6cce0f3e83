package secrets

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imagegate/imagegate/policy/evidence"
)

// shared is the detector for all tests. Its rules are compiled once.
var shared = sync.OnceValues(New)

func load(t *testing.T) *Detector {
	t.Helper()
	d, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// everywhere runs the detector on NAME=value as a variable, a label and a line of the history. It
// returns the kinds of credentials that are found in each place.
func everywhere(d *Detector, name, value string) map[string][]string {
	kinds := func(c Config) []string {
		var out []string
		for _, s := range d.Find(c) {
			out = append(out, s.Kind)
		}
		return out
	}
	assignment := name + "=" + value
	return map[string][]string{
		"variable":              kinds(Config{Env: []string{assignment}}),
		"label":                 kinds(Config{Labels: map[string]string{name: value}}),
		"history ENV":           kinds(Config{History: []string{"ENV " + assignment}}),
		"history LABEL":         kinds(Config{History: []string{"LABEL " + assignment}}),
		"history ARG":           kinds(Config{History: []string{"ARG " + assignment}}),
		"classic history":       kinds(Config{History: []string{"/bin/sh -c #(nop)  ENV " + assignment}}),
		"old ENV":               kinds(Config{History: []string{"ENV " + name + " " + value}}),
		"between others":        kinds(Config{History: []string{"ENV A=b " + assignment + " C=d"}}),
		"build argument":        kinds(Config{History: []string{"|1 " + assignment + " /bin/sh -c make"}}),
		"second build argument": kinds(Config{History: []string{"RUN |2 A=b " + assignment + " /bin/sh -c make # buildkit"}}),
	}
}

func one(kind string) []string {
	if kind == "" {
		return nil
	}
	return []string{kind}
}

// TestOfficialImagesHaveNoCredentials checks that no variable of widely used images is reported as
// a credential, in any place. Each value is public.
func TestOfficialImagesHaveNoCredentials(t *testing.T) {
	d := load(t)
	for _, assignment := range []string{
		"GPG_KEY=7169605F62C751356D054A26A821E680E5FA6305",
		"GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568",
		"GPG_KEYS=AFD8691FDAEDF03BDF6E460563F15A9B715376CA 1198C0117593497A5EC5C199286AF1F9897469DC",
		"GPG_KEYS=48F8E69F6390C9F25CFEDCD268248959359E722B A9C5DF4D22E99998D9875A5110C01C5A2F6059E7 DCFD35E0BF8CA7344752DE8B6FB21E8933C60243",
		"NGINX_GPGKEYS=573BFD6B3D8FBC641079A6ABABF5BD827BD9BF62 8540A6F18833A80E9C1653A42FD21310B49F6B46 9E9BE90EACBCDE69FE9B204CBCDCD8A38D88A2B3",
		"NGINX_GPGKEY_PATH=/etc/apt/keyrings/nginx-archive-keyring.gpg",
		"VAULT_GPGKEY=C874011F0AB405110D02105534365D9472D7468F",
		"SWIFT_SIGNING_KEY=52BB7E3DE28A71BE22EC05FFEF80A866B47A981F",
		"GHC_RELEASE_KEY=88B57FCF7DB53B4DB3BFA4B1588764FBE22D19C4",
		"JULIA_GPG=3673DF529D9049477F76B37566E3C7DC03D6E495",
		"INFLUXDATA_KEY=9D539D90D3328DC7D6C8D3B9D8FF8E1F7DF8B07E",
		"RABBITMQ_PGP_KEY_ID=0x0A9AF2115F4687BD29803A206B73A36E6026DFCA",
		"OPENSSL_PGP_KEY_IDS=0x8657ABB260F056B1E5190839D9C4D26D0E604491 0xB7C1C14360F353A36862E4D5231C84CDDCC69C45",
		"ZIG_MINISIGN_KEY=RWSGOq2NVecA2UPNdBUZykf1CCb147pkmdtYxgb3Ti+JO/wCYvhbAb/U",
		"PYTHON_SHA256=8d3ed8ec5c88c1c95f5e558612a725450d2452813ddad5e58fdb1a53b1209b78",
		"PYTHON_GET_PIP_SHA256=bc37786ec99618416cc0a0ca32833da447f4d91ab51d2c138dd15b7af21e8e9a",
		"PHP_SHA256=8d3ed8ec5c88c1c95f5e558612a725450d2452813ddad5e58fdb1a53b1209b78",
		"PHP_ASC_URL=https://www.php.net/distributions/php-8.4.1.tar.xz.asc",
		"PHP_INI_DIR=/usr/local/etc/php",
		"REDIS_DOWNLOAD_SHA=17f1bbd0ad4b2ae0b3ee4db7c2ed3ffb84d6bd3d2bd1bd4e5e4c9c45b4e13f8c",
		"RUBY_DOWNLOAD_SHA256=953e5a4b92c5f7f4a0f8f3a5d1d7fa3eb7b0b50c5f6dd7f7ec9bd1e4ad4c4b9a",
		"OPENSSL_SOURCE_SHA256=57e03c50feab5d31b152af2b764f10379aecd8ee92f16c985983ce4a99f7ef86",
		"SENTRY_CLI_SHA256=8d3ed8ec5c88c1c95f5e558612a725450d2452813ddad5e58fdb1a53b1209b78",
		"DRUPAL_MD5=21ffcd0bb8ef3a1e4f5c1fd8e9a3a0e5",
		"TOMCAT_SHA512=e09fa32f0a0eab2b879ccbbc4d0e4fb9751486eedda75e35fac65802cc9faa266425edf83e261137a2f4d16281ce2c1a5f4502930fe75154723da014214f0655",
		"TOMCAT_ASC_URLS=https://www.apache.org/dyn/closer.cgi?action=download&filename=tomcat/apache-tomcat-10.1.33.tar.gz.asc",
		"DIND_COMMIT=65cfcc28ab37cb75e1560e4b4738719c07c6618e",
		"NODE_VERSION=22.11.0", "YARN_VERSION=1.22.22", "JAVA_HOME=/opt/java/openjdk", "PGDATA=/var/lib/postgresql/data",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
		"PHPIZE_DEPS=autoconf dpkg-dev file g++ gcc libc-dev make pkg-config re2c",
		"PHP_CFLAGS=-fstack-protector-strong -fpic -fpie -O2 -D_LARGEFILE_SOURCE -D_FILE_OFFSET_BITS=64",
		"TOKENIZERS_PARALLELISM=false", "SECRET_KEY_BASE_DUMMY=1", "GOFLAGS=-mod=mod", "PWD=/app", "OLDPWD=/root",
		"POSTGRES_PASSWORD_FILE=/run/secrets/password", "MYSQL_ROOT_PASSWORD_FILE=/run/secrets/root", "SSL_PRIVATE_KEY=/etc/ssl/private/key.pem",
		"DOCKER_TLS_CERTDIR=/certs", "NEXT_PUBLIC_API_KEY=", "PASSWORD_MIN_LENGTH=12", "TOKEN_TTL=3600", "AUTH_MODE=disabled-by-default",
		"SSH_HOST_KEY=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
		"COSIGN_KEY=-----BEGIN PUBLIC KEY----- MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE4uoVJbGKnPdEbtvKGTlhgZvhCJYu -----END PUBLIC KEY-----",
		"DATABASE_URL=postgres://app@db.example/app", "DATABASE_URL=postgres://app:@db.example/app", "AMQP_URL=amqp://rabbit:5672/",
		"DATABASE_URL=postgres://user:password@localhost/app", "DATABASE_URL=postgres://app:${DB_PASSWORD}@db/app", "REDIS_URL=redis://:<password>@redis:6379/0",
		"HTTP_PROXY=http://proxy.example:3128", "MYSQL_DSN=app@tcp(db:3306)/app",
		"POSTGRES_PASSWORD=", "POSTGRES_PASSWORD=${OTHER}", "API_TOKEN=$TOKEN", "DB_PASSWORD=changeme", "DB_PASSWORD=change-me", "DB_PASSWORD=CHANGE_ME_NOW",
		"DB_PASSWORD=xxx", "DB_PASSWORD=XXXXXXXX", "DB_PASSWORD=********", "API_KEY=placeholder", "API_KEY=your-api-key-here", "API_KEY=<your key>",
		"API_KEY=<API_KEY>", "API_KEY=API_KEY", "API_KEY={{ .Values.key }}", "API_KEY=%API_KEY%", "SECRET_KEY=dummy", "SECRET=REDACTED", "TOKEN=none", "TOKEN=null",
		"API_KEY=not-set", "API_KEY=insert-key-here", "API_KEY=[your key]", "TOKEN=__GITHUB_TOKEN__", "PASSWORD=((db-password))", "PASSWORD=@@PW@@", "PASSWORD=#{pw}#",
		"PASSWORD=ENC[AES256_GCM,data:q7Zt9Xw2Lm4Vb8Rk1Ns6Yc3Hd5]", "SECRET=fill-me-in", "GOOGLE_APPLICATION_CREDENTIALS=/var/run/key.json",
		"SENTRY_DSN=https://5c3b2a1908f7e6d5c4b3a29180f7e6d5@sentry.example/1", "JWT_PUBLIC_KEY=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo",
		"AUTHORIZED_KEYS=ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT",
		"KEYSTORE_PASSWORD=changeit", "GITHUB_TOKEN=ghp" + "_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "DB_PASSWORD=${DB_PASSWORD:-changeme}", "DB_PASSWORD=\"\"",
		"AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AWS_ACCESS_KEY_ID=AKIA" + "IOSFODNN7EXAMPLE",
		"TOKEN=vault:secret/data/app#token", "PASSWORD=arn:aws:secretsmanager:eu-west-1:123456789012:secret:app",
		"JAVA_OPTS=-Djavax.net.ssl.trustStorePassword=changeit -Xmx1g",
		"org.opencontainers.image.revision=65cfcc28ab37cb75e1560e4b4738719c07c6618e",
		"org.opencontainers.image.base.digest=sha256:8d3ed8ec5c88c1c95f5e558612a725450d2452813ddad5e58fdb1a53b1209b78",
		"org.opencontainers.image.source=https://github.com/docker-library/python", "org.opencontainers.image.authors=a@example.com",
		"org.opencontainers.image.created=2026-01-01T00:00:00Z", "maintainer=NGINX Docker Maintainers <docker-maint@nginx.com>",
		"org.label-schema.vcs-ref=65cfcc28ab37cb75e1560e4b4738719c07c6618e", "com.example.auth-mode=oidc",
	} {
		name, value, _ := strings.Cut(assignment, "=")
		for place, kinds := range everywhere(d, name, value) {
			if len(kinds) > 0 {
				t.Errorf("%s in a %s is taken for %v", assignment, place, kinds)
			}
		}
	}
}

// TestOfficialHistoryHasNoCredentials checks that no command in the history of popular images is
// reported as a credential.
func TestOfficialHistoryHasNoCredentials(t *testing.T) {
	d := load(t)
	for _, line := range []string{
		"ENV GPG_KEY=7169605F62C751356D054A26A821E680E5FA6305",
		"/bin/sh -c #(nop)  ENV GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568",
		`/bin/sh -c #(nop)  CMD ["python3"]`,
		"/bin/sh -c #(nop) ADD file:8d3ed8ec5c88c1c95f5e558612a725450d2452813ddad5e58fdb1a53b1209b78 in / ",
		"# debian.sh --arch 'amd64' out/ 'bookworm' '@1731283200'",
		"ENV PHP_URL=https://www.php.net/distributions/php-8.4.1.tar.xz PHP_ASC_URL=https://www.php.net/distributions/php-8.4.1.tar.xz.asc",
		"ENV GPG_KEYS=AFD8691FDAEDF03BDF6E460563F15A9B715376CA 1198C0117593497A5EC5C199286AF1F9897469DC",
		`RUN /bin/sh -c set -eux; savedAptMark="$(apt-mark showmanual)"; apt-get update; apt-get install -y --no-install-recommends gnupg; wget -O python.tar.xz "https://www.python.org/ftp/python/${PYTHON_VERSION%%[a-z]*}/Python-$PYTHON_VERSION.tar.xz"; echo "$PYTHON_SHA256 *python.tar.xz" | sha256sum -c -; wget -O python.tar.xz.asc "https://www.python.org/x.asc"; GNUPGHOME="$(mktemp -d)"; export GNUPGHOME; gpg --batch --keyserver hkps://keys.openpgp.org --recv-keys "$GPG_KEY"; gpg --batch --verify python.tar.xz.asc python.tar.xz; gpgconf --kill all; rm -rf "$GNUPGHOME" python.tar.xz.asc # buildkit`,
		`RUN /bin/sh -c set -ex && for key in 4ED778F539E3634C779C87C6D7062848A1AB005C 141F07595B7B3FFE74309A937405533BE57C7D57 74F12602B6F1C4E913FAA37AD3A89613643B6201; do gpg --batch --keyserver hkps://keys.openpgp.org --recv-keys "$key" || gpg --batch --keyserver keyserver.ubuntu.com --recv-keys "$key" ; done && curl -fsSLO --compressed "https://nodejs.org/dist/v$NODE_VERSION/node-v$NODE_VERSION-linux-$ARCH.tar.xz" # buildkit`,
		`RUN /bin/sh -c set -x && groupadd --system --gid 101 nginx && NGINX_GPGKEYS="573BFD6B3D8FBC641079A6ABABF5BD827BD9BF62 8540A6F18833A80E9C1653A42FD21310B49F6B46"; NGINX_GPGKEY_PATH=/etc/apt/keyrings/nginx-archive-keyring.gpg; export GNUPGHOME="$(mktemp -d)"; found=''; for NGINX_GPGKEY in $NGINX_GPGKEYS; do gpg1 --keyserver "$server" --keyserver-options timeout=10 --recv-keys "$NGINX_GPGKEY" && found=yes && break; done # buildkit`,
		`RUN /bin/sh -c KEY_SHA512="e09fa32f0a0eab2b879ccbbc4d0e4fb9751486eedda75e35fac65802cc9faa266425edf83e261137a2f4d16281ce2c1a5f4502930fe75154723da014214f0655" && wget -O /tmp/nginx_signing.rsa.pub https://nginx.org/keys/nginx_signing.rsa.pub && if echo "$KEY_SHA512 */tmp/nginx_signing.rsa.pub" | sha512sum -c -; then echo "key verification succeeded!"; fi # buildkit`,
		`/bin/sh -c set -eux; key='B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8'; export GNUPGHOME="$(mktemp -d)"; mkdir -p /usr/local/share/keyrings/; gpg --batch --recv-keys "$key"; gpg --batch --export --armor "$key" > /usr/local/share/keyrings/postgres.gpg.asc`,
		`/bin/sh -c { echo mysql-community-server mysql-community-server/data-dir select ''; echo mysql-community-server mysql-community-server/root-pass password ''; } | debconf-set-selections`,
		`RUN /bin/sh -c if [ -z "$MYSQL_ROOT_PASSWORD" ] && [ -z "$MYSQL_ALLOW_EMPTY_PASSWORD" ]; then echo >&2 'error: specify MYSQL_ROOT_PASSWORD'; exit 1; fi # buildkit`,
		`RUN /bin/sh -c export MYSQL_ROOT_PASSWORD="$(pwgen -1 32)" PGPASSWORD="${PGPASSWORD:-$POSTGRES_PASSWORD}"; file_env 'POSTGRES_PASSWORD'; initdb --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") # buildkit`,
		`ENTRYPOINT ["docker-entrypoint.sh"]`,
		`COPY docker-entrypoint.sh /usr/local/bin/ # buildkit`,
		`RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci`,
		`RUN /bin/sh -c --mount=type=secret,id=github_token,env=GITHUB_TOKEN npm ci # buildkit`,
		`|1 NPM_TOKEN /bin/sh -c npm ci`,
		`RUN |1 TARGETARCH=amd64 /bin/sh -c apt-get update # buildkit`,
		`|2 HTTP_PROXY=http://proxy.example:3128 NPM_TOKEN= /bin/sh -c npm ci`,
		`ARG NPM_TOKEN`, `ARG VERSION=1.2.3`, `EXPOSE map[8080/tcp:{}]`, `USER 1000`, `WORKDIR /app`, "", "x",
		`RUN /bin/sh -c adduser --disabled-password --gecos "" app # buildkit`,
		`RUN /bin/sh -c adduser --disabled-password app && gpg --batch --passphrase '' --quick-gen-key x # buildkit`,
		`RUN /bin/sh -c sed -i 's/password=.*/password=${DB_PASSWORD}/' /etc/app.conf && grep -q "BEGIN RSA PRIVATE KEY-----" /etc/ssl/key.pem # buildkit`,
		`RUN /bin/sh -c curl -fsSL -H "Authorization: Bearer $TOKEN" https://example.com/x -u "$USER:$PASS" # buildkit`,
		`RUN /bin/sh -c echo "root:$ROOT_PASSWORD" | chpasswd && echo "machine x login y password $TOKEN" > /root/.netrc && docker login -u x -p "$TOKEN" && docker login --password-stdin # buildkit`,
		`LABEL maintainer=NGINX Docker Maintainers <docker-maint@nginx.com>`,
		`LABEL org.opencontainers.image.title=App org.opencontainers.image.description=Set DATABASE_URL to postgres://user:password@host/db org.opencontainers.image.version=1.0`,
	} {
		if got := d.Find(Config{History: []string{line}}); len(got) > 0 {
			t.Errorf("%s\n%+v", line, got)
		}
	}
}

// pem is a private key that was made for this test.
const pem = "-----BEGIN EC PRIVATE" + " KEY-----\nMHcCAQEEIBIbqTz9hXMLhLAkXhXoOyJbqDzpHWR9h3UG5GQAUq8hoAoGCCqGSM49\nAwEHoUQDQgAEk7sXGPHFUbZ6kgf6Uaw3RkF0lQh9hVbyMpjF0T5u6PZ4f0qWZbXT\n-----END EC PRIVATE" + " KEY-----"

const jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkoiLCJpYXQiOjE1MTYyMzkwMjJ9.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"

// credentials have the form of real credentials but are invalid. The strings are split so that
// scanners of source code ignore them.
var credentials = map[string]string{
	"AWS_ACCESS_KEY_ID=AKIA" + "QYLPMN5HHHFPZAM2":                                                       "aws-access-token",
	"AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzzzz":                                    KindConfidentialName,
	"NPM_TOKEN=npm" + "_8f3KqL2mN9pR4sT6vW8xY1zA3bC5dE7fG9hJ":                                           "npm-access-token",
	"GITHUB_TOKEN=ghp" + "_016c7e1d3b7d4f3e9c1a5b2d8f0e4c6a9b7d":                                        "github-pat",
	"X=gho" + "_016c7e1d3b7d4f3e9c1a5b2d8f0e4c6a9b7d":                                                   "github-oauth",
	"deploy.token=ghp" + "_LABELabcdefghijklmnopqrstuvwxyz0123456":                                      "github-pat",
	"X=github_pat" + "_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789aBcDeFgHiJkLmNoPqRsTuVwXyZ012345": "github-fine-grained-pat",
	"CI_TOKEN=glpat" + "-zY3xW9vU7tS5rQ1pO2nM":                                                          "gitlab-pat",
	"SLACK=xoxb" + "-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx":                               "slack-bot-token",
	"X=" + jwt:                "jwt",
	"TLS_KEY=" + inline(pem):  KindPrivateKey,
	"TLS_KEY=" + escaped(pem): KindPrivateKey,
	"TLS_KEY_B64=" + b64(pem): KindPrivateKey,
	"DATABASE_URL=postgres://app:S3cr3tP4ss@db.example/app":                                     KindURLPassword,
	"REDIS_URL=redis://:hunter2hunter2@redis:6379/0":                                            KindURLPassword,
	"MYSQL_DSN=app:hunter2hunter2@tcp(db:3306)/app":                                             KindURLPassword,
	"DATABASE_URL=postgres://app:hunter2x@db.example.com/x":                                     KindURLPassword,
	`DOCKER_AUTH_CONFIG={"auths":{"registry.example":{"auth":"` + b64("ci:S3cr3tP4ss") + `"}}}`: KindRegistryAuth,
	"DOCKER_AUTH=" + b64(`{"auths":{"registry.example":{"auth":"`+b64("ci:S3cr3tP4ss")+`"}}}`):  KindRegistryAuth,
	"POSTGRES_PASSWORD=hunter2hunter2":                                                          KindConfidentialName,
	"DB_PASSWD=x1":                                                                              KindConfidentialName,
	"PGPASSWORD=hunter2":                                                                        KindConfidentialName,
	"API_TOKEN=abc":                                                                             KindConfidentialName,
	"SECRET_KEY_BASE=8d3ed8ec5c88c1c95f5e558612a725450d2452":                                    KindConfidentialName,
	"DD_API_KEY=21ffcd0bb8ef3a1e4f5c1fd8e9a3a0e5":                                               KindConfidentialName,
	"com.example.dbPassword=hunter2hunter2":                                                     KindConfidentialName,
	"DB_PASSWORD=${DB_PASSWORD:-hunter2hunter2}":                                                KindConfidentialName,
	"JAVA_OPTS=-Ddb.password=hunter2hunter2":                                                    KindConfidentialName,
	"GPG_PASSPHRASE=hunter2hunter2":                                                             KindConfidentialName,
	"SPRING_APPLICATION_JSON={\"db.password\":\"hunter2x\"}":                                    KindConfidentialName,
	"APP_KEY=base64:" + b64("0123456789abcdefGHIJKLMNOPqrstuv"):                                 "laravel-app-key",
	"CONNECTION=DefaultEndpointsProtocol=https;AccountName=x;AccountKey=" + b64("0123456789abcdefGHIJKLMNOPqrstuv") + ";EndpointSuffix=x": KindConfidentialName,
	"CONNECTION=Server=db;User=app;Password=hunter2x;":  KindConfidentialName,
	"RAILS_MASTER_KEY=21ffcd0bb8ef3a1e4f5c1fd8e9a3a0e5": KindConfidentialName,
	"LICENSE_KEY=q7Zt9Xw2Lm4Vb8Rk1Ns6Yc3Hd5":            guess,
}

func inline(s string) string  { return strings.ReplaceAll(s, "\n", " ") }
func escaped(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }
func b64(s string) string     { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestCredentialIsFoundInEveryPlace checks that the result is the same for a variable, a label and
// a line of the history, and never contains the value.
func TestCredentialIsFoundInEveryPlace(t *testing.T) {
	d := load(t)
	for assignment, want := range credentials {
		name, value, _ := strings.Cut(assignment, "=")
		for place, kinds := range everywhere(d, name, value) {
			if !slices.Equal(kinds, one(want)) {
				t.Errorf("%s in a %s: %v, want %q", assignment, place, kinds, want)
			}
		}
		for _, s := range d.Find(Config{Env: []string{assignment}, Labels: map[string]string{name: value}, History: []string{"ENV " + assignment}}) {
			if strings.Contains(s.Where+s.Kind, value) {
				t.Errorf("%s is shown: %+v", assignment, s)
			}
		}
	}
}

func TestCredentialInACommandIsFound(t *testing.T) {
	d := load(t)
	for line, want := range map[string]evidence.Secret{
		"|1 NPM_TOKEN=npm" + "_8f3KqL2mN9pR4sT6vW8xY1zA3bC5dE7fG9hJ RUN npm ci":             {Where: "line 1 of the history, build argument NPM_TOKEN", Kind: "npm-access-token"},
		"|2 TOKEN=abc DEBUG=1 /bin/sh -c npm ci":                                            {Where: "line 1 of the history, build argument TOKEN", Kind: KindConfidentialName},
		"RUN |1 TOKEN=abc /bin/bash -o pipefail -c npm ci # buildkit":                       {Where: "line 1 of the history, build argument TOKEN", Kind: KindConfidentialName},
		"ARG DB_PASSWORD=hunter2":                                                           {Where: "line 1 of the history, build argument DB_PASSWORD", Kind: KindConfidentialName},
		"LABEL a=b com.example.token=hunter2":                                               {Where: "line 1 of the history, label com.example.token", Kind: KindConfidentialName},
		"RUN /bin/sh -c export DB_PASSWORD=hunter2 && make # buildkit":                      {Where: "line 1 of the history", Kind: KindConfidentialName},
		"RUN /bin/sh -c DB_PASSWORD='hunter2 x' make # buildkit":                            {Where: "line 1 of the history", Kind: KindConfidentialName},
		"/bin/sh -c app login --password hunter2hunter2":                                    {Where: "line 1 of the history", Kind: KindConfidentialName},
		"/bin/sh -c npm config set //registry.example/:_authToken=5ecr3t-0f-n0b0dy":         {Where: "line 1 of the history", Kind: KindConfidentialName},
		"/bin/sh -c echo 'root:hunter2' | chpasswd":                                         {Where: "line 1 of the history", Kind: KindConfidentialName},
		"/bin/sh -c echo \"machine x login y password hunter2\" > /root/.netrc":             {Where: "line 1 of the history", Kind: KindConfidentialName},
		"/bin/sh -c docker login -u ci -p hunter2 registry.example":                         {Where: "line 1 of the history", Kind: KindConfidentialName},
		"/bin/sh -c git clone https://ci:S3cr3tP4ss@git.example/app.git":                    {Where: "line 1 of the history", Kind: KindURLPassword},
		"/bin/sh -c curl -H \"Authorization: Bearer q7Zt9Xw2Lm4Vb8Rk1Ns6Yc3Hd5\" https://x": {Where: "line 1 of the history", Kind: "curl-auth-header"},
		"/bin/sh -c echo ghp" + "_016c7e1d3b7d4f3e9c1a5b2d8f0e4c6a9b7d > /root/.token":      {Where: "line 1 of the history", Kind: "github-pat"},
		"/bin/sh -c printf '" + escaped(pem) + "' > /root/key":                              {Where: "line 1 of the history", Kind: KindPrivateKey},
		"/bin/sh -c x=ghp" + "_016c7e1d3b7d4f3e9c1a5b2d8f0e4c6a9b7d #(nop) ENV A=b":         {Where: "line 1 of the history", Kind: "github-pat"},
		"X=ghp" + "_016c7e1d3b7d4f3e9c1a5b2d8f0e4c6a9b7d # gitleaks:allow":                  {Where: "line 1 of the history", Kind: "github-pat"},
	} {
		if got := d.Find(Config{History: []string{line}}); !slices.Equal(got, []evidence.Secret{want}) {
			t.Errorf("%s\n%+v, want %+v", line, got, want)
		}
	}
}

// TestPlaceDoesNotChangeTheResult checks that the results for a variable, a label and a line of the
// history are equal, with random names and values.
func TestPlaceDoesNotChangeTheResult(t *testing.T) {
	d := load(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	names := []string{"KEY", "GPG_KEY", "API_KEY", "TOKEN", "DB_PASSWORD", "X", "com.example.token", "PATH", "COMMIT", "SIGNING_KEY", "app.url", "AUTH", "SECRET_FILE", "a-b.c_d"}
	var values []string
	for assignment := range credentials {
		_, value, _ := strings.Cut(assignment, "=")
		if !strings.ContainsAny(value, " \n") { // A line of the history does not mark the end of a value with spaces.
			values = append(values, value)
		}
	}
	letters := []string{"0123456789abcdef", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "$(){}<>\"'`=:/@.,;&|\\-_xX*#%"}
	for range 400 {
		name, value := names[r.IntN(len(names))], ""
		if r.IntN(3) == 0 {
			value = values[r.IntN(len(values))]
		} else {
			set := letters[r.IntN(len(letters))]
			for range 1 + r.IntN(45) {
				value += string(set[r.IntN(len(set))])
			}
		}
		all := everywhere(d, name, value)
		for place, kinds := range all {
			if !slices.Equal(kinds, all["variable"]) {
				t.Fatalf("seed %d: %s=%s in a %s: %v, as a variable %v", seed, name, value, place, kinds, all["variable"])
			}
		}
	}
}

func TestHistoryIsSplitAsBuildersWriteIt(t *testing.T) {
	for line, want := range map[string]string{
		"ENV A=1":                    "[variable A=1] ",
		"ENV A=1 2 B=3":              "[variable A=1 2][variable B=3] ",
		"ENV A=x=y B=":               "[variable A=x=y][variable B=] ",
		"ENV A= B=1":                 "[variable A=][variable B=1] ",
		`ENV A="x B=y" C='z'`:        `[variable A="x B=y"][variable C='z'] `,
		`LABEL "a.b"="c d"`:          `[label a.b="c d"] `,
		"ENV A 1 2":                  "[variable A=1 2] ",
		"ARG A":                      "[build argument A=] ",
		"/bin/sh -c #(nop)  ENV A=1": "[variable A=1] ",
		"cmd /S /C #(nop) ENV A=1":   "[variable A=1] ",
		"|1 A=b /bin/sh -c make X=y": "[build argument A=b] /bin/sh -c make X=y",
		"RUN |2 A=b c D= /bin/bash -c make # buildkit": "[build argument A=b c][build argument D=] /bin/bash -c make",
		"|2 A=b /bin/sh -c make":                       "[build argument A=b] /bin/sh -c make",
		"|1 A= /bin/sh -c make":                        "[build argument A=] /bin/sh -c make",
		"|0 /bin/sh -c make":                           " /bin/sh -c make",
		"|1 A=b powershell make":                       "[build argument A=b] powershell make",
		"|99999999999999999999 A=b":                    " |99999999999999999999 A=b",
		"RUN /bin/sh -c make # buildkit":               " /bin/sh -c make",
		"ENV $x=1":                                     " $x=1",
		"":                                             " ",
	} {
		pairs, rest := parseHistory(line)
		got := ""
		for _, p := range pairs {
			got += fmt.Sprintf("[%s %s=%s]", p.what, p.name, p.value)
		}
		if got += " " + rest; got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// TestHiddenLabelsAreAtLeastTheReportedOnes checks that every label that is reported as a
// credential is also hidden.
func TestHiddenLabelsAreAtLeastTheReportedOnes(t *testing.T) {
	d := load(t)
	for assignment := range credentials {
		name, value, _ := strings.Cut(assignment, "=")
		if got := d.HiddenLabels(map[string]string{name: value, "title": "app"}); !slices.Equal(got, []string{name}) {
			t.Errorf("%s: %v", assignment, got)
		}
		if strings.HasPrefix(assignment, "X=") && d.Public(value) != evidence.HiddenValue {
			t.Errorf("%s is shown", assignment)
		}
	}
	if got := d.Public("PATH"); got != "PATH" {
		t.Errorf("%q", got)
	}
}

func FuzzHistory(f *testing.F) {
	for _, line := range []string{"ENV A=1 B=2", "|2 A=b C=d /bin/sh -c x", "/bin/sh -c #(nop) LABEL a=b", "RUN x # buildkit"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		pairs, rest := parseHistory(line)
		size := len(rest)
		for _, p := range pairs {
			size += len(p.name) + len(p.value)
		}
		if size > len(line) {
			t.Errorf("%q: %d bytes of %d", line, size, len(line))
		}
	})
}
