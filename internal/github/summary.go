package github

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/layout"
	"github.com/imagegate/imagegate/internal/report"
)

// MaxSummary is the maximum size of the summary of one step, in bytes. GitHub drops a longer one
// completely.
const MaxSummary = 1024<<10 - 1

// maxReasons is the maximum number of lines of an error in the summary.
const maxReasons = 20

// Summary returns the Markdown for the job summary, of at most limit bytes. It lists as many results as
// fit, and says how many it leaves out. For a failed run, it has all lines of the error.
func (s Step) Summary(limit int) ([]byte, error) {
	reasons := s.reasons()
	var b bytes.Buffer
	if err := formats.Markdown(&b, s.Report, formats.Options{MarkdownBytes: limit - len(reasons)}); err != nil {
		return nil, err
	}
	b.WriteString(reasons)
	return b.Bytes(), nil
}

// reasons returns a list with the lines of the error, if the verdict does not already contain all of it.
func (s Step) reasons() string {
	var lines []string
	if s.Report.Error != nil {
		lines = layout.Lines(s.Report.Error.Message)
	}
	if !s.Agrees() {
		lines = append(lines, fmt.Sprintf("the report says %s, but the exit code is %d", s.Report.Verdict().Word, s.ExitCode))
	} else if len(lines) < 2 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nReason\n------\n\n")
	for i, line := range lines {
		if i == maxReasons {
			fmt.Fprintf(&b, "- and %d more lines, in the log\n", len(lines)-maxReasons)
			break
		}
		b.WriteString("- `" + strings.ReplaceAll(brief(line), "`", "'") + "`\n")
	}
	return b.String()
}

// classes are the error classes of the exit codes, for a run without a report.
var classes = map[int]report.Class{3: report.ClassUsage, 4: report.ClassRegistry, 5: report.ClassDatabase, 6: report.ClassTrust, 130: report.ClassInterrupted}

// Failed returns the report of a run that ended before it wrote one, such as a usage error. log is the
// standard error of the run. The report has its last error message and the hints that follow it.
func Failed(command, image string, code int, log []byte) report.Report {
	const program, continued = "imagegate: ", "           "
	r := report.Report{Command: command, Error: &report.Error{Class: report.ClassOther}}
	r.Input.Image.Reference = image
	if class, ok := classes[code]; ok {
		r.Error.Class = class
	}
	var message []string
	for line := range strings.SplitSeq(strings.ReplaceAll(string(log), "\r", ""), "\n") {
		text, isError := strings.CutPrefix(line, program)
		switch {
		case isError && !strings.HasPrefix(text, "warning: "):
			message = []string{text}
		case len(message) == 0:
		case strings.HasPrefix(line, continued), strings.HasPrefix(line, "hint: "):
			message = append(message, strings.TrimSpace(line))
		case line == "retryable: yes":
			r.Error.Retryable = true
		}
	}
	if len(message) == 0 {
		message = []string{fmt.Sprintf("imagegate ended with exit code %d and wrote neither a report nor an error message", code)}
	}
	r.Error.Message = strings.Join(message, "\n")
	return r
}
