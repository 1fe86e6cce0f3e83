package main

import (
	"bufio"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Machine describes the machine that ran the benchmark.
type Machine struct {
	System    string `json:"system"` // operating system and architecture, such as "linux/amd64"
	Processor string `json:"processor,omitempty"`
	Cores     int    `json:"cores"`
	Go        string `json:"go"`
}

func thisMachine() Machine {
	return Machine{System: runtime.GOOS + "/" + runtime.GOARCH, Processor: processor(), Cores: runtime.NumCPU(), Go: runtime.Version()}
}

// processor returns the name of the processor model on Linux, and "" elsewhere.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// programs reads the versions of the compared programs from their binaries in the folder bin. Only
// trivy may be absent.
func programs(bin string) (map[string]string, error) {
	out := map[string]string{}
	for program, module := range map[string]string{
		"syft": "github.com/anchore/syft", "grype": "github.com/anchore/grype", "trivy": "github.com/aquasecurity/trivy",
		"crane": "github.com/google/go-containerregistry", "cosign": "github.com/sigstore/cosign/v2",
	} {
		if program == "trivy" && unbuilt(bin, program) != "" {
			continue
		}
		info, err := buildinfo.ReadFile(filepath.Join(bin, program))
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w; \"make bench\" builds it", program, err)
		}
		for _, dep := range append(info.Deps, &info.Main) {
			if dep.Path == module {
				out[program] = dep.Version
			}
		}
	}
	return out, nil
}
