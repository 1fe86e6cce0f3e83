package formats

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"github.com/imagegate/imagegate/internal/report"
)

// JUnit writes the problems as test cases in JUnit XML. A blocking problem is a failure. A problem
// covered by an exception or a VEX statement is skipped. A warning passes, with its text as output.
// A platform without blocking problems has a case that passes, so that a clean run shows tests too.
//
// If a tool or a service failed, only the case of the verdict fails, with an error. Each platform
// is a suite. Problems on several platforms are in a suite of their own.
func JUnit(w io.Writer, r report.Report) error {
	verdict := r.Verdict()
	out := junit.Testsuites{Name: toolName + ": " + sentence(verdict)}
	first := junit.Testsuite{Name: "verdict", Time: "0"}
	for _, f := range facts(r) {
		first.AddProperty(toolName+"."+f.name, f.value)
	}
	if test := verdictCase(r, verdict); test != nil {
		first.AddTestcase(*test)
	}
	suites := append([]junit.Testsuite{first}, platformSuites(r)...)
	for i, s := range suites {
		s.ID = i
		out.AddSuite(s)
	}
	out.Skipped = 0 // the schema of Jenkins has no such attribute here
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	return out.WriteXML(w)
}

// verdictCase returns the test case of the verdict. It returns nil if the blocking problems are
// failing cases already.
func verdictCase(r report.Report, v report.Verdict) *junit.Testcase {
	test := &junit.Testcase{Name: "verdict", Classname: toolName, Time: "0"}
	switch {
	case v.Outcome.IsFailure():
		test.Error = &junit.Result{Message: sentence(v), Type: "unknown"}
		if r.Error != nil {
			test.Error.Type, test.Error.Data = name(string(r.Error.Class)), clean(r.Error.Message)
		}
	case v.Outcome.IsPass():
		test.SystemOut = &junit.Output{Data: sentence(v)}
	case v.Counts.Blocking > 0:
		return nil
	default:
		test.Failure = &junit.Result{Message: sentence(v), Type: "denied"}
	}
	return test
}

// platformSuites returns a suite for each platform, and one for each set of several platforms that
// share a problem.
func platformSuites(r report.Report) []junit.Testsuite {
	var names []string
	suites := map[string]*junit.Testsuite{}
	suite := func(name string) *junit.Testsuite {
		if suites[name] == nil {
			suites[name] = &junit.Testsuite{Name: name, Time: "0"}
			names = append(names, name)
		}
		return suites[name]
	}
	blocked := map[string]bool{}
	all := problems(r)
	for i := range all {
		if all[i].Status == report.Blocking {
			for _, platform := range all[i].Platforms {
				blocked[platform] = true
			}
		}
	}
	for _, platform := range r.Input.Platforms {
		s := suite(cmp.Or(name(platform.Platform), "unknown platform"))
		if r.Decision != nil && !blocked[platform.Platform] {
			s.AddTestcase(junit.Testcase{Name: "no problem of this platform blocks", Classname: toolName, Time: "0"})
		}
	}
	for i := range all {
		suite(cmp.Or(all[i].On(), "image")).AddTestcase(testCase(&all[i], r.Outcome()))
	}
	out := make([]junit.Testsuite, 0, len(names))
	for _, name := range names {
		if len(suites[name].Testcases) > 0 {
			out = append(out, *suites[name])
		}
	}
	return out
}

// testCase returns the test case of a problem. Its name has no version, so that the history of the
// case survives an upgrade that does not fix the problem. After an override, the problems that it
// allows are skipped, because the run succeeds.
func testCase(p *problem, outcome report.Outcome) junit.Testcase {
	test := junit.Testcase{Name: p.ID, Classname: cmp.Or(name(p.Item.Rule), "unknown rule"), Time: "0"}
	if p.Finding != nil {
		test.Name += " in " + p.Name
	} else if p.Title != "" {
		test.Name += ": " + clip(p.Title, maxName)
	}
	detail := strings.Join(slices.DeleteFunc([]string{resultMessage(p), p.PURL, p.Path, p.URL()}, func(s string) bool { return s == "" }), "\n")
	switch {
	case p.Status == report.Blocking && outcome == report.Overridden:
		test.Skipped = &junit.Result{Message: "blocking, but an override allows it", Type: p.Status.String(), Data: detail}
	case p.Status == report.Blocking:
		test.Failure = &junit.Result{Message: p.Title, Type: cmp.Or(p.Severity(), name(string(p.Kind)), "problem"), Data: detail}
	case p.Suppressed():
		test.Skipped = &junit.Result{Message: cmp.Or(p.Note, "covered by an exception"), Type: p.Status.String(), Data: detail}
	default:
		test.SystemOut = &junit.Output{Data: fmt.Sprintf("%s: %s", p.Status, detail)}
	}
	return test
}
