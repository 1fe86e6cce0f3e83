package gate

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/imagegate/imagegate/policy/evidence"
)

// TestFullDiskIsNotTheImagesFault checks that cataloging fails if the disk is full. Catalogers copy
// archives to disk, and report an archive that they cannot copy as an unknown. In a child process
// limited to files of 64 KiB, the kernel refuses the write.
func TestFullDiskIsNotTheImagesFault(t *testing.T) {
	if os.Getenv("GATE_TEST_LIMITED") == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestFullDiskIsNotTheImagesFault$", "-test.v")
		cmd.Env = append(os.Environ(), "GATE_TEST_LIMITED=1", "GOCOVERDIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	archive := archiveOf(t, 0, []member{{name: "srv/part-1.jar", content: jar(t, rand.New(rand.NewPCG(1, 1)), 1)}})
	a, p := fetched(t, layered(t, empty.Image, archive))
	s, err := testCataloger.Generate(t.Context(), a, p.Image, p.Digest)
	if err != nil || !slices.ContainsFunc(s.Packages, func(p evidence.Package) bool { return p.Name == "part-1" }) {
		t.Fatalf("without a limit: %+v, %v", s, err)
	}
	limit := syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	if _, err := testCataloger.Generate(t.Context(), a, p.Image, p.Digest); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("with a full disk: %v", err)
	}
}
