// Package release verifies the files of an imagegate release: that its release workflow built and
// signed them.
//
// A release is a folder with files, [Checksums] of all files, a signature of the checksums and the
// SLSA provenance of all files. Both are Sigstore bundles by the identity of the workflow.
package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imagegate/imagegate/internal/trust"
)

// These are the names of the files that prove where a release comes from.
const (
	// Checksums lists the SHA-256 digest and the name of each file, as sha256sum prints them.
	Checksums = "checksums.txt"
	// Signature is the Sigstore bundle with the signature of Checksums.
	Signature = "checksums.txt.sigstore.json"
	// Provenance is the Sigstore bundle with the SLSA provenance: https://slsa.dev/spec/v1.0/provenance
	Provenance = "provenance.sigstore.json"
)

const (
	// Source is the repository of imagegate's releases.
	Source = "github.com/imagegate/imagegate"

	workflow       = ".github/workflows/release.yml"
	issuer         = "https://token.actions.githubusercontent.com"
	provenanceType = "https://slsa.dev/provenance/v1"
)

// Release identifies a release.
type Release struct {
	// Source is the GitHub repository, such as github.com/imagegate/imagegate.
	Source string
	// Tag is the Git tag of the release, such as v1.2.3.
	Tag string
}

var (
	sourceForm = regexp.MustCompile(`^github\.com/[A-Za-z0-9-]+/[A-Za-z0-9._-]+$`)
	tagForm    = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$`)
)

// Check returns an error if the source or the tag has a wrong form.
func (r Release) Check() error {
	if !sourceForm.MatchString(r.Source) {
		return fmt.Errorf("the source %q is not of the form github.com/OWNER/NAME", r.Source)
	}
	if !tagForm.MatchString(r.Tag) {
		return fmt.Errorf("the tag %q is not of the form v1.2.3", r.Tag)
	}
	return nil
}

// Identity returns the identity of the workflow that builds the release. The tag is a part of the
// identity, so another release of the same repository has another identity.
func (r Release) Identity() trust.Identity {
	return trust.Identity{Issuer: issuer, Subject: "https://" + r.Source + "/" + workflow + "@" + r.ref()}
}

func (r Release) ref() string { return "refs/tags/" + r.Tag }

// File is a verified file of a release.
type File struct {
	// Name is the name of the file in the release.
	Name   string
	Digest v1.Hash
	// Commit is the Git commit that was built.
	Commit string
	// SignedAt is the time of the signature, as a log or a timestamp authority recorded it.
	SignedAt time.Time
}

// Verify verifies that the files at paths are files of the release r. Each file must have its
// original name, and Checksums, Signature and Provenance must be in the same folder. Verify does
// not check files that are not in paths.
func (r Release) Verify(paths []string, root *trust.Root) ([]File, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	var out []File
	folders := map[string]*evidence{}
	for _, path := range paths {
		dir := filepath.Dir(path)
		if folders[dir] == nil {
			e, err := r.open(dir, root)
			if err != nil {
				return nil, err
			}
			folders[dir] = e
		}
		f, err := folders[dir].verify(path)
		if err != nil {
			return nil, fmt.Errorf("%s is not a file of release %s of %s: %w", filepath.Base(path), r.Tag, r.Source, err)
		}
		out = append(out, f)
	}
	return out, nil
}

// evidence has the signed statements of the workflow about the files in a folder.
type evidence struct {
	release    Release
	trust      trust.Trust
	sums       map[string]v1.Hash // by file name
	provenance trust.Envelope
	signedAt   time.Time
}

// open reads the evidence in a folder, and verifies the signature of the checksums.
func (r Release) open(dir string, root *trust.Root) (*evidence, error) {
	files := map[string][]byte{}
	for _, name := range []string{Checksums, Signature, Provenance} {
		data, err := readBounded(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("reading the evidence of the release: %w", err)
		}
		files[name] = data
	}
	t := trust.Trust{Identities: []trust.Identity{r.Identity()}, Root: root}
	by, err := t.VerifyMessage(files[Signature], files[Checksums])
	if err != nil {
		return nil, fmt.Errorf("the workflow of release %s of %s did not sign %s: %w", r.Tag, r.Source, Checksums, err)
	}
	sums, err := parseChecksums(files[Checksums])
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", Checksums, err)
	}
	return &evidence{release: r, trust: t, sums: sums, provenance: files[Provenance], signedAt: by.At}, nil
}

func (e *evidence) verify(path string) (File, error) {
	f := File{Name: filepath.Base(path), SignedAt: e.signedAt}
	want, ok := e.sums[f.Name]
	if !ok {
		return f, fmt.Errorf("%s does not list it", Checksums)
	}
	var err error
	if f.Digest, err = digestOf(path); err != nil {
		return f, err
	}
	if f.Digest != want {
		return f, fmt.Errorf("its digest is %s, and %s has %s", f.Digest, Checksums, want)
	}
	st, _, err := e.trust.VerifyEnvelope(e.provenance, f.Digest)
	if err != nil {
		return f, fmt.Errorf("%s: %w", Provenance, err)
	}
	f.Commit, err = e.release.built(st, f)
	if err != nil {
		return f, fmt.Errorf("%s: %w", Provenance, err)
	}
	return f, nil
}

// provenance has the parts of a SLSA provenance by a GitHub workflow that a verifier must check:
// https://actions.github.io/buildtypes/workflow/v1
type provenance struct {
	BuildDefinition struct {
		ExternalParameters struct {
			Workflow struct {
				Ref        string `json:"ref"`
				Repository string `json:"repository"`
				Path       string `json:"path"`
			} `json:"workflow"`
		} `json:"externalParameters"`
		ResolvedDependencies []struct {
			URI    string            `json:"uri"`
			Digest map[string]string `json:"digest"`
		} `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
	} `json:"runDetails"`
}

// built checks that the statement says that the release workflow built the file from the tag, and
// returns the commit.
func (r Release) built(st trust.Statement, f File) (commit string, err error) {
	if st.PredicateType != provenanceType {
		return "", fmt.Errorf("its type is %q, not %q", st.PredicateType, provenanceType)
	}
	if !slices.Contains(st.Subjects, trust.Subject{Name: f.Name, Digest: f.Digest}) {
		return "", fmt.Errorf("the file with digest %s has another name", f.Digest)
	}
	var p provenance
	if err := json.Unmarshal(st.Predicate, &p); err != nil {
		return "", fmt.Errorf("reading the provenance: %w", err)
	}
	w := p.BuildDefinition.ExternalParameters.Workflow
	for _, field := range []struct{ what, got, expected string }{
		{"the workflow's repository", w.Repository, "https://" + r.Source},
		{"the workflow's path", w.Path, workflow},
		{"the workflow's ref", w.Ref, r.ref()},
		{"the builder", p.RunDetails.Builder.ID, r.Identity().Subject},
	} {
		if field.got != field.expected {
			return "", fmt.Errorf("%s is %q, expected %q", field.what, field.got, field.expected)
		}
	}
	for _, d := range p.BuildDefinition.ResolvedDependencies {
		if d.URI == "git+https://"+r.Source+"@"+r.ref() && d.Digest["gitCommit"] != "" {
			return d.Digest["gitCommit"], nil
		}
	}
	return "", errors.New("it names no commit of the source")
}

var sumLine = regexp.MustCompile(`^([0-9a-f]{64}) [ *]([^/\\\x00-\x1f]+)$`)

// parseChecksums parses lines of sha256sum. It refuses names with folders, and a name that is
// listed twice.
func parseChecksums(data []byte) (map[string]v1.Hash, error) {
	sums := map[string]v1.Hash{}
	for n, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		m := sumLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("line %d is not a SHA-256 digest and a file name", n+1)
		}
		if _, twice := sums[m[2]]; twice {
			return nil, fmt.Errorf("line %d lists %q again", n+1, m[2])
		}
		sums[m[2]] = v1.Hash{Algorithm: "sha256", Hex: m[1]}
	}
	return sums, nil
}

func digestOf(path string) (v1.Hash, error) {
	f, err := os.Open(path)
	if err != nil {
		return v1.Hash{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return v1.Hash{}, err
	}
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}, nil
}

// maxBytes is the largest size of a file with evidence.
const maxBytes = 8 << 20

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(data) > maxBytes {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxBytes)
	}
	return data, err
}
