package attestations

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/imagegate/imagegate/policy/evidence"
)

// The predicate types of build provenance.
const (
	provenance02 = "https://slsa.dev/provenance/v0.2"
	provenance1  = "https://slsa.dev/provenance/v1"
)

// pointer is the part of a provenance statement that names the source code: a URI with digests.
type pointer struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
}

// predicate02 has the fields of https://slsa.dev/spec/v0.2/provenance that imagegate uses.
type predicate02 struct {
	Builder struct {
		ID string `json:"id"`
	} `json:"builder"`
	Invocation struct {
		ConfigSource pointer `json:"configSource"`
	} `json:"invocation"`
}

// predicate1 has the fields of https://slsa.dev/spec/v1.1/provenance that imagegate uses. Each
// builder defines its own external parameters. These fields name the source code in provenance by
// GitHub, BuildKit and Google. The resolved dependencies are not used to guess the source, because
// they also include base images and submodules.
type predicate1 struct {
	BuildDefinition struct {
		ExternalParameters struct {
			Workflow struct {
				Repository string `json:"repository"`
				Ref        string `json:"ref"`
			} `json:"workflow"`
			ConfigSource pointer         `json:"configSource"`
			Source       json.RawMessage `json:"source"` // a URI as a string, or a pointer
		} `json:"externalParameters"`
		ResolvedDependencies []pointer `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
	} `json:"runDetails"`
}

// provenanceOf parses a statement of provenance. It returns nil for other predicate types.
func provenanceOf(predicateType string, predicate []byte) (*evidence.Provenance, error) {
	switch predicateType {
	case provenance02:
		var p predicate02
		if err := json.Unmarshal(predicate, &p); err != nil {
			return nil, fmt.Errorf("reading provenance: %w", err)
		}
		source, revision := split(p.Invocation.ConfigSource)
		return &evidence.Provenance{Builder: p.Builder.ID, Source: source, Revision: revision}, nil
	case provenance1:
		var p predicate1
		if err := json.Unmarshal(predicate, &p); err != nil {
			return nil, fmt.Errorf("reading provenance: %w", err)
		}
		at, err := p.source()
		if err != nil {
			return nil, err
		}
		source, revision := split(at)
		if revision == "" {
			revision = p.revision(source)
		}
		return &evidence.Provenance{Builder: p.RunDetails.Builder.ID, Source: source, Revision: revision}, nil
	}
	return nil, nil
}

func (p *predicate1) source() (pointer, error) {
	in := &p.BuildDefinition.ExternalParameters
	if in.Workflow.Repository != "" {
		return pointer{URI: in.Workflow.Repository}, nil
	}
	if in.ConfigSource.URI != "" {
		return in.ConfigSource, nil
	}
	if len(in.Source) == 0 {
		return pointer{}, nil
	}
	var uri string
	if json.Unmarshal(in.Source, &uri) == nil {
		return pointer{URI: uri}, nil
	}
	var at pointer
	if json.Unmarshal(in.Source, &at) != nil {
		return pointer{}, errors.New("reading provenance: the source is neither a string nor an object")
	}
	return at, nil
}

// revision returns the revision of the source, from the resolved dependency with the same URI.
func (p *predicate1) revision(source string) string {
	for _, d := range p.BuildDefinition.ResolvedDependencies {
		if repository, revision := split(d); repository == source && revision != "" {
			return revision
		}
	}
	return ""
}

// split returns the repository and revision of a source such as
// "git+https://git.example/app@refs/heads/main". If the source is not a URL, repository is empty,
// so that no pattern matches it.
func split(p pointer) (repository, revision string) {
	revision = cmp.Or(p.Digest["gitCommit"], p.Digest["sha1"])
	u, err := url.Parse(strings.TrimPrefix(p.URI, "git+"))
	if err != nil || u.Scheme == "" || u.Host == "" {
		return "", revision
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	if at := strings.LastIndexByte(u.Path, '@'); at >= 0 {
		u.Path, u.RawPath = u.Path[:at], ""
	}
	return strings.TrimSuffix(u.String(), ".git"), revision
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
