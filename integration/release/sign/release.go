package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"
)

// The names of the files of a release that have a fixed name.
const (
	checksumsFile  = "checksums.txt"
	bundleFile     = "checksums.txt.sigstore.json"
	provenanceFile = "provenance.sigstore.json"
)

// The values that the certificates and the provenance state about each run.
const (
	trigger      = "push"
	runner       = "github-hosted"
	repositoryID = "1001"
	ownerID      = "1002"
	runID        = "1003"
)

// workflowRun is the workflow run that signs a release. All fields except the last three are required.
type workflowRun struct {
	// Repository is the repository that contains the workflow, such as
	// https://github.com/imagegate/imagegate.
	Repository string
	// Workflow is the path of the workflow in the repository.
	Workflow string
	// Tag is the tag that the workflow ran for.
	Tag string
	// Commit is the commit of the tag, in hexadecimal.
	Commit string
	// Issuer is the issuer of the identity token.
	Issuer string

	// Source is the repository that the run builds, if it is not Repository. GitHub states such a
	// source if a workflow in another repository calls the workflow.
	Source string
	// Identity is the subject of the certificate, if it is not the workflow.
	Identity string
	// Expired makes the log entry later than the end of the certificate.
	Expired bool
}

func (r workflowRun) ref() string { return "refs/tags/" + r.Tag }

func (r workflowRun) source() string {
	if r.Source != "" {
		return r.Source
	}
	return r.Repository
}

// subject returns the identity of the workflow that signs.
func (r workflowRun) subject() string {
	if r.Identity != "" {
		return r.Identity
	}
	return r.Repository + "/" + r.Workflow + "@" + r.ref()
}

// config returns the identity of the workflow that GitHub started.
func (r workflowRun) config() string { return r.source() + "/" + r.Workflow + "@" + r.ref() }

func (r workflowRun) invocation() string {
	return r.source() + "/actions/runs/" + runID + "/attempts/1"
}

// path returns OWNER/NAME of a repository's URL.
func path(repository string) string { return strings.TrimPrefix(repository, "https://github.com/") }

// owner returns the URL of a repository's owner.
func owner(repository string) string {
	return repository[:max(0, strings.LastIndexByte(repository, '/'))]
}

// sign returns the bundle and the provenance of the release with these checksums, in JSON.
func (s *sigstore) sign(ctx context.Context, checksums []byte, run workflowRun) (signed, provenance []byte, err error) {
	statement, err := run.statement(checksums)
	if err != nil {
		return nil, nil, err
	}
	if signed, err = s.bundle(ctx, &sign.PlainData{Data: checksums}, run); err != nil {
		return nil, nil, fmt.Errorf("signing the checksums: %w", err)
	}
	if provenance, err = s.bundle(ctx, &sign.DSSEData{Data: statement, PayloadType: "application/vnd.in-toto+json"}, run); err != nil {
		return nil, nil, fmt.Errorf("signing the provenance: %w", err)
	}
	return signed, provenance, nil
}

// bundle signs content with a new key. Unless the run is expired, it verifies the result.
func (s *sigstore) bundle(ctx context.Context, content sign.Content, run workflowRun) ([]byte, error) {
	key, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, err
	}
	opts := sign.BundleOptions{Context: ctx, CertificateProvider: authorityOf{s, run},
		TransparencyLogs: []sign.Transparency{sign.NewRekor(&sign.RekorOptions{Client: s})}}
	if !run.Expired {
		trusted, err := s.trustedRoot()
		if err != nil {
			return nil, err
		}
		opts.TrustedRoot = trusted
	}
	b, err := sign.Bundle(content, key, opts)
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(b)
}

type (
	object  = map[string]any
	subject struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	}
)

// statement returns the provenance that GitHub's action "attest" writes for the files of the
// checksums: https://actions.github.io/buildtypes/workflow/v1
func (r workflowRun) statement(checksums []byte) ([]byte, error) {
	subjects, err := subjects(checksums)
	if err != nil {
		return nil, err
	}
	return json.Marshal(object{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       subjects,
		"predicateType": "https://slsa.dev/provenance/v1",
		"predicate": object{
			"buildDefinition": object{
				"buildType":          "https://actions.github.io/buildtypes/workflow/v1",
				"externalParameters": object{"workflow": object{"ref": r.ref(), "repository": r.source(), "path": r.Workflow}},
				"internalParameters": object{"github": object{"event_name": trigger, "repository_id": repositoryID,
					"repository_owner_id": ownerID, "runner_environment": runner}},
				"resolvedDependencies": []object{{"uri": "git+" + r.source() + "@" + r.ref(), "digest": object{"gitCommit": r.Commit}}},
			},
			"runDetails": object{
				"builder":  object{"id": r.subject()},
				"metadata": object{"invocationId": r.invocation()},
			},
		},
	})
}

// subjects parses lines in the format of sha256sum.
func subjects(checksums []byte) ([]subject, error) {
	var out []subject
	for lines := bufio.NewScanner(bytes.NewReader(checksums)); lines.Scan(); {
		sum, name, ok := strings.Cut(lines.Text(), " ")
		name = strings.TrimLeft(name, " *")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s: not a line of sha256sum: %q", checksumsFile, lines.Text())
		}
		out = append(out, subject{name, map[string]string{"sha256": sum}})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s lists no files", checksumsFile)
	}
	return out, nil
}
