package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
)

// canaries returns secrets in the forms that CI jobs use. Each secret comes with the part that must
// never be printed.
func canaries(t *testing.T) map[string][2]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	armoured := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	encoded := base64.StdEncoding.EncodeToString(der)
	line := strings.Split(armoured, "\n")[1]
	return map[string][2]string{
		"PEM":                         {armoured, line[8:40]},
		"PEM in one line":             {strings.ReplaceAll(armoured, "\n", `\n`), line[8:40]},
		"PEM in base64":               {base64.StdEncoding.EncodeToString([]byte(armoured)), base64.StdEncoding.EncodeToString([]byte(armoured))[20:60]},
		"DER in base64":               {encoded, encoded[:40]},
		"in lines":                    {"first\nCANARY-in-lines\n", "CANARY-in-lines"},
		"user and password, in lines": {"user:CANARY-of-a-user\nname:CANARY-of-a-name", "CANARY-of-a"},
		"JSON":                        {`{"private_key": "CANARY-json"}`, "CANARY-json"},
		"JSON Web Token":              {"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDQU5BUlktand0In0.c2lnbmVk", "eyJzdWIiOiJDQU5BUlktand0In0"},
		"token":                       {"ghp_CANARYtoken000000000000000000000000", "CANARYtoken"},
		"very long":                   {strings.Repeat("CANARY-long-", 1000), "CANARY-long-"},
		"address":                     {"https://user:CANARY-password@127.0.0.1:1/path?token=CANARY-query", "CANARY-"},
		"address, slash":              {"https://user:pass/CANARY-password@127.0.0.1:1/", "CANARY-"},
		"user of address":             {"https://CANARY-user@127.0.0.1:1/", "CANARY-"},
	}
}

// leaves returns every command without subcommands, mapped to the words of its full name.
func leaves(commands []*cli.Command, words []string) map[*cli.Command][]string {
	out := map[*cli.Command][]string{}
	for _, c := range commands {
		path := append(append([]string{}, words...), c.Name)
		if len(c.Subcommands) == 0 {
			out[c] = path
			continue
		}
		for c, path := range leaves(c.Subcommands, path) {
			out[c] = path
		}
	}
	return out
}

// TestNoFlagEchoesASecret passes a secret to every flag, variable and argument of every command,
// and checks that the output never shows it. The flags come from the commands, so new flags are
// covered.
func TestNoFlagEchoesASecret(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CACHE_HOME", home)
	t.Setenv("COSIGN_PASSWORD", "CANARY-variable")
	secrets := canaries(t)
	for c, words := range leaves(newApp(Streams{}).Commands, []string{"imagegate"}) {
		arguments := strings.Fields(strings.ReplaceAll(c.ArgsUsage, "[", " "))
		for i := range arguments {
			arguments[i] = "127.0.0.1:1/a:1"
		}
		for name, secret := range secrets {
			for _, f := range c.Flags {
				if _, isBool := f.(*cli.BoolFlag); isBool {
					continue
				}
				flag := "--" + f.Names()[0]
				tryLine(t, name, secret[1], "", "", append(append(append([]string{}, words...), arguments...), flag, secret[0])...)
				tryLine(t, name, secret[1], "", "", append(append(append([]string{}, words...), flag+"="+secret[0]), arguments...)...)
				tryLine(t, name, secret[1], "", "", append(append(append([]string{}, words...), arguments...), "--output", "json=r.json", flag, "json="+secret[0])...)
				for _, variable := range f.(cli.DocGenerationFlag).GetEnvVars() {
					tryLine(t, name, secret[1], variable, secret[0], append(append([]string{}, words...), arguments...)...)
				}
			}
			tryLine(t, name, secret[1], "", "", append(append([]string{}, words...), secret[0])...)
			tryLine(t, name, secret[1], "", "", append(append([]string{}, words...), "127.0.0.1:1/a:1", secret[0])...)
			tryLine(t, name, secret[1], "", "", append(append([]string{}, words...), "--none="+secret[0])...)
			tryLine(t, name, secret[1], "", "", append(append([]string{}, words...), "--"+secret[0])...)
			tryLine(t, name, secret[1], "", "", append(append([]string{}, words...), "--"+secret[0]+"==")...)
		}
	}
	for name, secret := range secrets {
		tryLine(t, name, secret[1], "", "", "imagegate", secret[0])
	}
}

// tryLine runs one command line in an empty folder, and fails if its output or files contain the
// canary.
func tryLine(t *testing.T, name, canary, variable, value string, args ...string) {
	t.Helper()
	for _, a := range args {
		if strings.Contains(a, "\x00") {
			return
		}
	}
	dir, err := os.MkdirTemp(t.TempDir(), "run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if variable != "" {
		t.Setenv(variable, value)
		defer os.Unsetenv(variable)
	}
	var out bytes.Buffer
	code := Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &out})
	where := strings.Join(args[:min(3, len(args))], " ") + " " + variable + " (" + name + ")"
	for _, c := range []string{canary, "CANARY-variable"} {
		if strings.Contains(out.String(), c) {
			t.Errorf("%s: exit code %d: it says %q", where, code, out.String())
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err == nil && bytes.Contains(data, []byte(c)) {
				t.Errorf("%s: %s has it", where, d.Name())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestNamesAreNoSecrets checks that refuseSecret accepts realistic names of files, images, keys and
// identities.
func TestNamesAreNoSecrets(t *testing.T) {
	for _, v := range []string{"", "policy.yaml", "./policies/team-a/production-2026.yaml", "cosign.key", "awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"azurekms://vault.vault.azure.net/Release-Signing-Key-2026/0123456789abcdef0123456789abcdef", "hashivault://release-key",
		"gcpkms://projects/my-project-123456/locations/europe-west3/keyRings/Release/cryptoKeys/Signing/cryptoKeyVersions/1",
		"registry.example/team/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		"https://github.com/My-Organisation/My-Repository-2026/.github/workflows/Release-And-Promote-2026.yml@refs/heads/main",
		"json=/builds/Group1/Sub-Group/Project-With-A-Long-Name-2026/Reports/imagegate.json", "json,text=a", "cyclonedx={platform}.json", "linux/arm64/v8", "168h",
		`C:\Users\Administrator\AppData\Local\imagegate\Cache2026`, "oci:/tmp/My-Image-Layout-2026-11-29-Final:v1.0.0",
		"/tmp/TestInterruptedRunLeavesNothing2148760378/001/cosign", "/srv/CamelCaseFolderOfAProject2026Version12ForRelease/a",
		"/home/runner/work/_temp/0b7f6d2e-8c1c-4b53-9a58-6b2f3b3d9e42/policy.yaml", "reason=Ticket ABC-123,approver=oncall@example.com,expires=2026-12-31"} {
		if err := refuseSecret("--flag", "", v); err != nil {
			t.Errorf("%q", v)
		}
	}
	// The name of an existing file is always accepted, even if it looks like a key.
	dir := t.TempDir()
	file := filepath.Join(dir, "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := refuseSecret("--key", "", file); err != nil {
		t.Error(err)
	}
}

// TestANameThatHoldsAPasswordIsNoSecret checks that refuseSecret accepts a name that contains a
// short password, which may be an ordinary word. The user info and the query of a URL are always
// secrets.
func TestANameThatHoldsAPasswordIsNoSecret(t *testing.T) {
	t.Setenv("COSIGN_PASSWORD", "cosign")
	for value, want := range map[string]bool{
		"awskms:///alias/cosign-prod": false, "https://registry.example/cosign": false, "cosign.key": false,
		"https://me:cosign@registry.example/": true, "https://me@registry.example/": true, "https://registry.example/?token=x": true,
		"awskms://cosign@host/key": true,
	} {
		if err := refuseSecret("--key", "sign with `KEY`", value); (err != nil) != want {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// TestAddressesLoseSecretsOnly checks that Redact removes the secrets in a URL, and keeps the host
// and the path.
func TestAddressesLoseSecretsOnly(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "s.verysecret")
	for in, want := range map[string]string{
		"no address": "no address",
		`Get "https://u:p@host:8443/v6/latest.json": refused`:   `Get "https://***@host:8443/v6/latest.json": refused`,
		"https://host/a?X-Amz-Signature=abc failed":             "https://host/a?*** failed",
		"https://token@host":                                    "https://***@host",
		`parse "https://u:pa/ss@host/": invalid port`:           `parse "https://***@host/": invalid port`,
		"https://github.com/a/b/.github/x.yml@refs/heads/main":  "https://github.com/a/b/.github/x.yml@refs/heads/main",
		"https://host:8443/a/x.yml@refs/heads/main":             "https://host:8443/a/x.yml@refs/heads/main",
		"docker://registry.example/app@sha256:00":               "docker://registry.example/app@sha256:00",
		"a https://x:y@a/ and https://x:y@b/ z":                 "a https://***@a/ and https://***@b/ z",
		"permission denied for s.verysecret at https://vault/v": "permission denied for *** at https://vault/v",
	} {
		if got := exit.Redact(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := exit.Redact(exit.Redact(in)); got != want {
			t.Errorf("%q: twice %q", in, got)
		}
	}
}
