package integration

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

const installVersion = "v" + releasedVersion

// fakeProgram records its command line in the file "calls" next to it.
const fakeProgram = `#!/bin/sh
folder=${0%/*}
printf '%s\n' "$*" >>"$folder/calls"
exit "${FAKE_CODE:-0}"
`

// archived returns the files as a compressed archive of a release.
func archived(t *testing.T, files ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	packed, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(packed)
	for i := 0; i < len(files); i += 2 {
		header := &tar.Header{Name: files[i], Mode: 0o755, Size: int64(len(files[i+1]))}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), packed.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// require returns the path of a program. It skips the test if the program is missing, unless
// IMAGEGATE_TEST_GITLAB is set, as in "make test-gitlab".
func require(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("IMAGEGATE_TEST_GITLAB") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// sumOf returns the SHA-256 of data as sha256sum prints it.
func sumOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// onlyPrograms returns a PATH with these programs. A script in scripts replaces the program of its name.
func onlyPrograms(t *testing.T, programs []string, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, program := range programs {
		if err := os.Symlink(require(t, program), filepath.Join(dir, program)); err != nil {
			t.Fatal(err)
		}
	}
	for program, script := range scripts {
		file := filepath.Join(dir, program)
		write(t, file, []byte("#!/bin/sh\n"+script+"\n"))
		if err := os.Chmod(file, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// installation runs install.sh with a server that has the files of a release, and returns the exit
// code, the log, and the calls of the installed program.
func installation(t *testing.T, files map[string][]byte, path string, env map[string]string) (result ran, folder, calls string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := files[strings.TrimPrefix(r.URL.Path, "/releases/"+installVersion+"/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(data) //nolint:errcheck // the client has the same error
	}))
	defer server.Close()
	folder = filepath.Join(t.TempDir(), "the tools")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../examples/ci/install.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(path, "sh"), script, folder)
	cmd.Env = []string{"PATH=" + path, "GATE_RELEASE_URL=" + server.URL + "/releases"}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	recorded, err := os.ReadFile(filepath.Join(folder, "calls"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return ran{cmd.ProcessState.ExitCode(), string(out)}, folder, strings.TrimSpace(strings.ReplaceAll(string(recorded), folder+"/", ""))
}

// uname returns a script that replaces uname.
func uname(machine string) string {
	return `case $1 in -s) echo Linux ;; *) echo ` + machine + ` ;; esac`
}

// linux returns a PATH as on a machine of this kind, with one program that downloads. With busybox, all
// programs are from busybox, as in Alpine.
func linux(t *testing.T, machine, download string) string {
	t.Helper()
	scripts := map[string]string{"uname": uname(machine)}
	if download != "busybox" {
		return onlyPrograms(t, []string{download, "sha256sum", "tar", "xzcat", "rm", "sh"}, scripts)
	}
	path := onlyPrograms(t, nil, scripts)
	addBusybox(t, path, "wget", "sha256sum", "tar", "xzcat", "rm", "sh")
	return path
}

// addBusybox adds programs of busybox to a folder of the PATH.
func addBusybox(t *testing.T, path string, programs ...string) {
	t.Helper()
	busybox := require(t, "busybox")
	for _, program := range programs {
		if err := os.Symlink(busybox, filepath.Join(path, program)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCIInstallVerifiesBeforeUse checks that only a verified program stays installed, and that it is
// first run after its SHA-256 was checked. Exit code 2 would look like a denial.
func TestCIInstallVerifiesBeforeUse(t *testing.T) {
	const name = "imagegate_1.2.3_linux_amd64.tar.xz"
	good := archived(t, "LICENSE", "text", "imagegate", fakeProgram, "../evil", "text")
	empty := archived(t, "LICENSE", "text")
	verified := "verify-release --no-config --tag v1.2.3 " + name
	for label, tc := range map[string]struct {
		archive []byte            // "good" if empty
		without string            // a file that the server does not have
		env     map[string]string // replaces the variables of a correct use
		code    int
		calls   string
	}{
		"installed":             {nil, "", nil, 0, verified},
		"with a trusted root":   {nil, "", map[string]string{"GATE_TRUSTED_ROOT": "root.json"}, 0, "verify-release --no-config --tag v1.2.3 --trusted-root root.json " + name},
		"another sum":           {nil, "", map[string]string{"GATE_SHA256_AMD64": sumOf(empty)}, 6, ""},
		"no sum":                {nil, "", map[string]string{"GATE_SHA256_AMD64": ""}, 3, ""},
		"the sum of arm64":      {nil, "", map[string]string{"GATE_SHA256_AMD64": "", "GATE_SHA256_ARM64": sumOf(good)}, 3, ""},
		"no version":            {nil, "", map[string]string{"GATE_VERSION": ""}, 3, ""},
		"no v":                  {nil, "", map[string]string{"GATE_VERSION": "1.2.3"}, 3, ""},
		"another folder":        {nil, "", map[string]string{"GATE_VERSION": "v1/../../x"}, 3, ""},
		"a command":             {nil, "", map[string]string{"GATE_VERSION": "v1;$(exit 2)"}, 3, ""},
		"no such release":       {nil, "", map[string]string{"GATE_VERSION": "v1.2.4"}, 4, ""},
		"no archive":            {nil, name, nil, 4, ""},
		"no checksums":          {nil, "checksums.txt", nil, 4, ""},
		"no signature":          {nil, "checksums.txt.sigstore.json", nil, 4, ""},
		"no provenance":         {nil, "provenance.sigstore.json", nil, 4, ""},
		"not an archive":        {[]byte("<html>"), "", nil, 6, ""},
		"no program":            {empty, "", nil, 6, ""},
		"not verified":          {nil, "", map[string]string{"FAKE_CODE": "6"}, 6, verified},
		"no decision":           {nil, "", map[string]string{"FAKE_CODE": "1"}, 1, verified},
		"crashed like a denial": {nil, "", map[string]string{"FAKE_CODE": "2"}, 6, verified},
	} {
		t.Run(label, func(t *testing.T) {
			archive := tc.archive
			if archive == nil {
				archive = good
			}
			files := map[string][]byte{name: archive, "checksums.txt": nil, "checksums.txt.sigstore.json": nil, "provenance.sigstore.json": nil}
			delete(files, tc.without)
			env := map[string]string{"GATE_VERSION": installVersion, "GATE_SHA256_AMD64": sumOf(archive)}
			for k, v := range tc.env {
				env[k] = v
			}
			for _, download := range []string{"curl", "wget", "busybox"} {
				t.Run(download, func(t *testing.T) {
					result, folder, calls := installation(t, files, linux(t, "x86_64", download), env)
					if result.code != tc.code || calls != tc.calls {
						t.Errorf("exit code %d after %q\n%s", result.code, calls, result.log)
					}
					if _, err := os.Stat(filepath.Join(folder, "imagegate")); (err == nil) != (tc.code == 0) {
						t.Errorf("the program after exit code %d: %v", result.code, err)
					}
					if _, err := os.Stat(filepath.Join(filepath.Dir(folder), "evil")); err == nil {
						t.Error("a file was unpacked to another folder")
					}
				})
			}
		})
	}
}

func TestCIInstallSelectsTheMachine(t *testing.T) {
	archive := archived(t, "imagegate", fakeProgram)
	files := map[string][]byte{"imagegate_1.2.3_linux_arm64.tar.xz": archive, "checksums.txt": nil,
		"checksums.txt.sigstore.json": nil, "provenance.sigstore.json": nil}
	for machine, code := range map[string]int{"aarch64": 0, "x86_64": 3, "riscv64": 3} {
		env := map[string]string{"GATE_VERSION": installVersion, "GATE_SHA256_ARM64": sumOf(archive)}
		result, _, _ := installation(t, files, linux(t, machine, "curl"), env)
		if result.code != code {
			t.Errorf("%s: exit code %d\n%s", machine, result.code, result.log)
		}
	}
}

// TestCIInstallAddsXz checks that a failed installation of xz is worth a retry, and that a missing
// package manager is not.
func TestCIInstallAddsXz(t *testing.T) {
	archive := archived(t, "imagegate", fakeProgram)
	files := map[string][]byte{"imagegate_1.2.3_linux_amd64.tar.xz": archive, "checksums.txt": nil,
		"checksums.txt.sigstore.json": nil, "provenance.sigstore.json": nil}
	xzcat := require(t, "xzcat")
	for label, tc := range map[string]struct {
		managers map[string]string
		code     int
	}{
		"apk":           {map[string]string{"apk": `[ "$*" = "add --quiet --no-cache xz" ] && ln -s ` + xzcat + ` "${0%/*}/xzcat"`}, 0},
		"apt-get":       {map[string]string{"apt-get": `[ "$1" = update ] || ln -s ` + xzcat + ` "${0%/*}/xzcat"`}, 0},
		"apk fails":     {map[string]string{"apk": "exit 2"}, 4},
		"apt-get fails": {map[string]string{"apt-get": "exit 100"}, 4},
		"neither":       {nil, 3},
	} {
		t.Run(label, func(t *testing.T) {
			scripts := map[string]string{"uname": uname("x86_64")}
			for k, v := range tc.managers {
				scripts[k] = v
			}
			path := onlyPrograms(t, []string{"curl", "sha256sum", "tar", "rm", "sh", "ln"}, scripts)
			env := map[string]string{"GATE_VERSION": installVersion, "GATE_SHA256_AMD64": sumOf(archive)}
			result, _, _ := installation(t, files, path, env)
			if result.code != tc.code {
				t.Errorf("exit code %d\n%s", result.code, result.log)
			}
		})
	}
}

// serveForInstall starts a server with the releases, and removes the binary of the test from the PATH of
// the runner, so that its scripts must install imagegate.
func serveForInstall(t *testing.T, r *runner) (published, string) {
	t.Helper()
	require(t, "xz")
	rel, err := publishedReleases()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(rel.dir)))
	t.Cleanup(server.Close)
	_, r.env["PATH"], _ = strings.Cut(r.env["PATH"], string(os.PathListSeparator))
	if found := r.bash(t, "command -v imagegate", nil); found.code == 0 {
		t.Fatalf("the PATH has %s", found.log)
	}
	return rel, server.URL
}
