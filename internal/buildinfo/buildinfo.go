// Package buildinfo describes the running executable: its version, its commit and its components,
// as recorded by the Go linker.
package buildinfo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// Info describes a build. Its JSON form is stable.
type Info struct {
	// Version is the version of the program, or "devel".
	Version string `json:"version"`
	// Commit is the commit that was built, and CommitTime its time. They are empty if imagegate was
	// not built from a Git repository. Modified is true if the working tree differed from the
	// commit.
	Commit     string    `json:"commit,omitempty"`
	CommitTime time.Time `json:"commitTime,omitzero"`
	Modified   bool      `json:"modified,omitempty"`
	// Go is the version of the Go toolchain, and Platform the system and architecture.
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Components are the versions of the linked third-party tools, such as syft, by name.
	Components map[string]string `json:"components"`
	// URI is the address of imagegate's source code.
	URI string `json:"uri"`
}

// components maps the paths of Go modules to their names in Info.Components.
var components = map[string]string{
	"github.com/anchore/syft":       "syft",
	"github.com/anchore/grype":      "grype",
	"github.com/sigstore/cosign/v2": "cosign",
}

// Read returns the build information that the Go linker recorded in the running executable.
func Read() Info {
	out := Info{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		URI: "https://github.com/imagegate/imagegate", Components: map[string]string{}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	if info.Main.Path != "" {
		out.URI = "https://" + info.Main.Path
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		out.Version = v
	}
	for _, dep := range info.Deps {
		if name, ok := components[dep.Path]; ok {
			out.Components[name] = dep.Version
		}
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			out.Commit = s.Value
		case "vcs.time":
			out.CommitTime, _ = time.Parse(time.RFC3339, s.Value) // zero if the value is not a time
		case "vcs.modified":
			out.Modified = s.Value == "true"
		}
	}
	return out
}

// ID distinguishes builds with the same version, or without one, by the size and modification time
// of the executable file at path. If those are unknown, the ID contains the current time, so that
// it is unique.
func ID(path string, now time.Time) string {
	info, err := os.Stat(path)
	if err != nil {
		return now.String()
	}
	return fmt.Sprintf("%d bytes of %s", info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano))
}

// Write writes the build information as text, or as JSON. databaseSchema is the schema of the
// vulnerability database that this build reads.
func (i Info) Write(w io.Writer, databaseSchema string, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(struct {
			Info
			DatabaseSchema string `json:"databaseSchema"`
		}{i, databaseSchema})
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "imagegate version %s\n", i.Version)
	if i.Commit != "" {
		state := ""
		if i.Modified {
			state = ", modified"
		}
		fmt.Fprintf(&out, "commit     %s, %s%s\n", i.Commit, i.CommitTime.Format("2006-01-02 15:04 MST"), state)
	}
	fmt.Fprintf(&out, "go         %s, %s\n", i.Go, i.Platform)
	for _, name := range slices.Sorted(maps.Keys(i.Components)) {
		fmt.Fprintf(&out, "%-10s %s\n", name, i.Components[name])
	}
	fmt.Fprintf(&out, "database   schema %s\n", databaseSchema)
	_, err := w.Write(out.Bytes())
	return err
}
