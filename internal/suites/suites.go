// Package suites writes the results of policy tests: as text, or as JUnit XML for a CI system.
package suites

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jstemmer/go-junit-report/v2/junit"

	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/policy"
)

// width is the maximum length of a line in characters.
const width = 100

// Suite has the results of one policy test file.
type Suite struct {
	File  string
	Cases []Case
}

// Case is the result of one test case.
type Case struct {
	Name     string
	Position policy.Position
	// Differences are the results of policy.Case.Check. An empty list means that the case passes.
	Differences []string
}

// Failed returns the number of failed cases.
func (s Suite) Failed() int {
	n := 0
	for _, c := range s.Cases {
		if len(c.Differences) > 0 {
			n++
		}
	}
	return n
}

// Text writes one line for each case, the reasons below each failed case, and the totals at
// the end.
func Text(w io.Writer, suites []Suite) error {
	l := layout.New(w, width, false)
	held, failed := 0, 0
	for _, s := range suites {
		l.Item(0, layout.Name(s.File))
		for _, c := range s.Cases {
			if len(c.Differences) == 0 {
				l.Paragraph(layout.Plain, "  ok    ", 8, layout.Name(c.Name))
				continue
			}
			l.Paragraph(layout.Plain, "  FAIL  ", 8, layout.Name(c.Name)+fmt.Sprintf(" (%s:%d)", layout.Name(c.Position.File), c.Position.Line))
			for _, d := range c.Differences {
				l.Item(8, layout.Sanitize(d))
			}
		}
		failed += s.Failed()
		held += len(s.Cases) - s.Failed()
	}
	l.Item(0, fmt.Sprintf("%s, %d failed", count(held+failed), failed))
	if err := l.Flush(); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}

// JUnit writes the cases in JUnit XML, which CI systems show as test results.
func JUnit(w io.Writer, suites []Suite) error {
	var out junit.Testsuites
	for i, s := range suites {
		suite := junit.Testsuite{ID: i, Name: layout.Sanitize(s.File), Time: "0"} // JUnit requires a time, but imagegate measures none
		for _, c := range s.Cases {
			test := junit.Testcase{Name: layout.Sanitize(c.Name), Classname: layout.Sanitize(s.File)}
			if len(c.Differences) > 0 {
				test.Failure = junitFailure(c)
			}
			suite.AddTestcase(test)
		}
		out.AddSuite(suite)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("writing the JUnit results: %w", err)
	}
	if err := out.WriteXML(w); err != nil {
		return fmt.Errorf("writing the JUnit results: %w", err)
	}
	return nil
}

func junitFailure(c Case) *junit.Result {
	lines := make([]string, len(c.Differences))
	for i, d := range c.Differences {
		lines[i] = layout.Sanitize(d)
	}
	return &junit.Result{
		Message: lines[0],
		Type:    "policy",
		Data:    layout.Sanitize(c.Position.File) + ":" + strconv.Itoa(c.Position.Line) + "\n" + strings.Join(lines, "\n"),
	}
}

func count(n int) string {
	if n == 1 {
		return "1 case"
	}
	return fmt.Sprintf("%d cases", n)
}
