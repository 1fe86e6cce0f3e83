package integration

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/imagegate/imagegate/internal/lab"
)

// canaries are the credentials in the configuration of the test image.
var canaries = []string{
	"ghp_" + "LABELabcdefghijklmnopqrstuvwxyz0123456", "ghp_" + "ENVVabcdefghijklmnopqrstuvwxyz01234567",
	"hunter2-of-the-label", "hunter2-of-the-variable", "s3cr3t-of-the-address", "s3cr3t-of-the-job",
}

// TestCredentialsOfAnImageLeaveNoTrace checks that imagegate never writes the credentials in an
// image's environment and labels, or in the URL of the CI job. It searches every report, log, audit
// record, trace, metric, signed statement, cache and temporary file. The test runs check, promote
// and verify with every flag that writes something.
func TestCredentialsOfAnImageLeaveNoTrace(t *testing.T) {
	staging, approved := registry(t, lab.Options{}), registry(t, lab.Options{})
	spec := lab.ImageSpec{OSRelease: "debian 12", DebPackages: []lab.Deb{{Name: "openssl", Version: "3.0.13-1~deb12u1"}},
		Env:    []string{"TOKEN=" + canaries[1], "DB_PASSWORD=" + canaries[3], "PATH=/bin"},
		Labels: map[string]string{"deploy": canaries[0], "db.password": canaries[2], "source": "https://user:" + canaries[4] + "@git.example/app", "version": "1.2.3"}}
	one, err := lab.Image(spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.Platform = "linux/arm64"
	other, err := lab.Image(spec)
	if err != nil {
		t.Fatal(err)
	}
	index, err := lab.Index(one, other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := staging.Push(t.Context(), "team/app:1", index); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{"cache", "temp", "home"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(root, "cache"), os.DirFS(database(t))); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "policy.yaml"), []byte(`version: 1
rules: [{name: all, effect: warn}]
image: [{name: secrets, noSecrets: true, effect: warn}, {name: labels, labels: ["deploy=none", "db.password=none"], effect: warn}]
custom: [{name: text, each: platform, effect: warn, when: 'true', message: 'platform.config.labels["source"]'}]
`))
	var traces lab.Collector
	collector := httptest.NewServer(&traces)
	defer collector.Close()
	var log bytes.Buffer
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "imagegate", args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = root, &log, &log
		cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=x", "IMAGEGATE_CACHE_DIR="+filepath.Join(root, "cache"), "IMAGEGATE_CACHE_MAX=1GB",
			"IMAGEGATE_TEMP_DIR="+filepath.Join(root, "temp"), "TMPDIR="+filepath.Join(root, "temp"), "HOME="+filepath.Join(root, "home"),
			"GITLAB_CI=true", "CI_JOB_URL=https://user:"+canaries[5]+"@gitlab.example/jobs/1", "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL,
			"IMAGEGATE_AUDIT_LOG="+filepath.Join(root, "audit.log"), "IMAGEGATE_METRICS_FILE="+filepath.Join(root, args[0]+".prom"))
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s", err, &log)
		}
	}
	run("key", "generate")
	from, to := staging.Ref("team/app:1"), approved.Ref("prod/app:1")
	for _, n := range []string{"1", "2"} { // the second run uses the cache of the first one
		run("check", from, "--policy", "policy.yaml", "--log-format", "json", "-o", "text", "-o", "json=check"+n+".json")
		run("promote", from, approved.Ref("prod/app:"+n), "--policy", "policy.yaml", "--key", "cosign.key", "--log-format", "json",
			"-o", "text=promote"+n+".txt", "-o", "json=promote"+n+".json", "--evidence-dir", "evidence"+n)
	}
	run("verify", to, "--key", "cosign.pub", "-o", "json=verify.json", "--evidence-dir", "verified")

	mustHaveNoCanary(t, "output", log.Bytes())
	mustHaveNoCanary(t, "traces", traces.Raw())
	if len(traces.Spans("imagegate promote")) != 2 {
		t.Error("the collector has no trace of the promotions")
	}
	if records, err := os.ReadFile(filepath.Join(root, "audit.log")); err != nil || !bytes.Contains(records, []byte("@gitlab.example/jobs/1")) {
		t.Errorf("the audit log has no URL of the job: %s, %v", records, err)
	}
	files := 0
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "vulnerability.db" {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		mustHaveNoCanary(t, path, data)
		if filepath.Ext(path) == ".zst" {
			dec, err := zstd.NewReader(bytes.NewReader(data))
			if err != nil {
				return err
			}
			defer dec.Close()
			var plain bytes.Buffer
			if _, err := plain.ReadFrom(dec); err != nil {
				return err
			}
			mustHaveNoCanary(t, path, plain.Bytes())
		}
		return nil
	})
	if err != nil || files < 20 {
		t.Errorf("%d files, %v", files, err)
	}
	if left, err := os.ReadDir(filepath.Join(root, "temp")); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary folder: %v, %v", left, err)
	}
}

// mustHaveNoCanary fails the test if data contains a canary, as plain text or in base64 at any of
// the three alignments.
func mustHaveNoCanary(t *testing.T, where string, data []byte) {
	t.Helper()
	for _, c := range canaries {
		found := bytes.Contains(data, []byte(c))
		for offset := range 3 {
			encoded := base64.StdEncoding.EncodeToString(append(make([]byte, offset), c...))
			found = found || bytes.Contains(data, []byte(encoded[4:len(encoded)-4]))
		}
		if found {
			t.Errorf("%s has %s", where, c)
		}
	}
}
