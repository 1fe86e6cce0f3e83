package staged

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/imagegate/imagegate/policy"
)

// The predicate types of build provenance.
const (
	provenance02 = "https://slsa.dev/provenance/v0.2"
	provenance1  = "https://slsa.dev/provenance/v1"
)

// pointer is a reference with digests, as provenance names sources.
type pointer struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
}

// predicate02 is of https://slsa.dev/spec/v0.2/provenance.
type predicate02 struct {
	Builder struct {
		ID string `json:"id"`
	} `json:"builder"`
	Invocation struct {
		ConfigSource pointer `json:"configSource"`
	} `json:"invocation"`
}

// predicate1 is of https://slsa.dev/spec/v1.1/provenance. Parameters are the
// builders' own: these are where GitHub's, BuildKit's and Google's say what was
// built. Resolved dependencies are not looked at: a base image or a submodule is
// no less one of them than the source.
type predicate1 struct {
	BuildDefinition struct {
		ExternalParameters struct {
			Workflow struct {
				Repository string `json:"repository"`
				Ref        string `json:"ref"`
			} `json:"workflow"`
			ConfigSource pointer         `json:"configSource"`
			Source       json.RawMessage `json:"source"` // a URI or a pointer
		} `json:"externalParameters"`
		ResolvedDependencies []pointer `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
	} `json:"runDetails"`
}

// provenanceOf returns what a statement of provenance says, nil for another one.
func provenanceOf(predicateType string, predicate []byte) (*policy.Provenance, error) {
	switch predicateType {
	case provenance02:
		var p predicate02
		if err := json.Unmarshal(predicate, &p); err != nil {
			return nil, fmt.Errorf("reading provenance: %w", err)
		}
		source, revision := split(p.Invocation.ConfigSource)
		return &policy.Provenance{Builder: p.Builder.ID, Source: source, Revision: revision}, nil
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
		return &policy.Provenance{Builder: p.RunDetails.Builder.ID, Source: source, Revision: revision}, nil
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
		return pointer{}, errors.New("reading provenance: its source is neither text nor an object")
	}
	return at, nil
}

// revision is that of the dependency which is the source.
func (p *predicate1) revision(source string) string {
	for _, d := range p.BuildDefinition.ResolvedDependencies {
		if repository, revision := split(d); repository == source && revision != "" {
			return revision
		}
	}
	return ""
}

// split takes "git+https://git.example/app@refs/heads/main" apart. A source that
// is no URL has no repository that a pattern could be held against.
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
