package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/disk"
	"github.com/imagegate/imagegate/internal/filekind"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/suites"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
	"github.com/imagegate/imagegate/policy/suite"
)

func policyTestCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "test",
		Usage:     "test policies against cases with expected decisions",
		ArgsUsage: "FILE...",
		Description: "A FILE is a test suite: it lists policies and cases. A case has evidence about an image, a time,\n" +
			"and the expected decision at that time. The exit code is 2 if a case fails, and 3 if a test\n" +
			"suite or policy is invalid.",
		// The flag has no environment variable: it could be set for the reports of check, and the
		// test results would overwrite them.
		Flags:  []cli.Flag{&cli.StringFlag{Name: "junit", Usage: "also write the results as JUnit XML to `FILE`"}},
		Action: func(c *cli.Context) error { return runPolicyTest(c, s) },
	}
}

func runPolicyTest(c *cli.Context, s Streams) error {
	files, err := arguments(c, 1, -1, "at least one FILE")
	if err != nil {
		return err
	}
	// All files are read before the first case is evaluated, because the output of a partial run
	// would look like a complete result.
	var runs []suiteRun
	var failed []error
	for _, file := range files {
		run, err := loadSuite(file)
		failed = append(failed, err)
		runs = append(runs, run)
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	var results []suites.Suite
	broken := 0
	for _, run := range runs {
		result := run.evaluate()
		results = append(results, result)
		broken += result.Failed()
	}
	if err := suites.Text(s.Out, results); err != nil {
		return err
	}
	if file := c.String("junit"); file != "" {
		var out bytes.Buffer
		if err := suites.JUnit(&out, results); err != nil {
			return err
		}
		if err := disk.WriteBytes(file, 0o644, out.Bytes()); err != nil {
			return fmt.Errorf("writing the JUnit results: %w", err)
		}
	}
	if broken > 0 {
		return exit.ErrDenied // each failed case was reported
	}
	return nil
}

// suiteRun is a test suite with the parsed policies and evidence files that it names.
type suiteRun struct {
	suite    *suite.Suite
	policies policy.Set
	evidence map[string]*evidence.Input // evidence by the file name in the suite
}

func loadSuite(file string) (suiteRun, error) {
	data, err := readFile("policy tests", file)
	if err != nil {
		return suiteRun{}, err
	}
	s, err := suite.Parse(file, data)
	if err != nil {
		return suiteRun{}, exit.Usage(filekind.Explain(file, data, filekind.Suite, err))
	}
	run := suiteRun{suite: s, evidence: map[string]*evidence.Input{}}
	var failed []error
	for _, name := range s.Policies {
		p, err := loadPolicy(relativeTo(file, name))
		failed = append(failed, err)
		run.policies = append(run.policies, p)
	}
	for _, c := range s.Cases {
		if _, known := run.evidence[c.EvidenceFile]; known || c.Evidence != nil {
			continue
		}
		in, err := loadEvidence(relativeTo(file, c.EvidenceFile))
		failed = append(failed, err)
		run.evidence[c.EvidenceFile] = in
	}
	return run, errors.Join(failed...)
}

// relativeTo resolves name, which the file names, relative to the folder of that file.
func relativeTo(file, name string) string {
	name = filepath.FromSlash(name)
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(file), name)
}

// loadEvidence reads evidence from a JSON file that contains either an Input or a whole report.
func loadEvidence(path string) (*evidence.Input, error) {
	data, err := readBounded("evidence", path, report.MaxJSON)
	if err != nil {
		return nil, err
	}
	var kind struct {
		Schema *string `json:"schema"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, exit.Usage(fmt.Errorf("reading the evidence %q: %w", path, err))
	}
	if kind.Schema == nil {
		in, err := report.ReadInput(bytes.NewReader(data))
		if err != nil {
			return nil, exit.Usage(fmt.Errorf("reading the evidence %q: %w", path, err))
		}
		return &in, nil
	}
	r, err := report.ReadJSON(bytes.NewReader(data))
	switch {
	case err != nil:
		return nil, exit.Usage(fmt.Errorf("reading the evidence %q: %w", path, err))
	case r.Decision == nil:
		return nil, exit.Usagef("reading the evidence %q: the report has no decision, so its evidence may be incomplete", path)
	}
	return &r.Input, nil
}

// evaluate evaluates every case of the suite and returns the results.
func (run suiteRun) evaluate() suites.Suite {
	result := suites.Suite{File: run.suite.File}
	for i := range run.suite.Cases {
		c := &run.suite.Cases[i]
		in := c.Evidence
		if in == nil {
			in = run.evidence[c.EvidenceFile]
		}
		result.Cases = append(result.Cases, suites.Case{Name: c.Name, Position: c.Position, Differences: c.Check(run.policies, *in)})
	}
	return result
}
