package policy

import (
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/imagegate/imagegate/internal/strict"
)

// Problem is one error or warning in a file of a policy, with its position.
type Problem struct {
	Position Position `json:"position"`
	// Message describes the problem in one sentence, without a full stop at the end. It quotes text
	// of the file with %q, so it can be printed as it is.
	Message string `json:"message"`
}

// String returns file:line:column: message.
func (p Problem) String() string { return p.Position.String() + ": " + p.Message }

// ParseError lists all errors in a policy.
type ParseError struct {
	// Problems is never empty. It is sorted by position.
	Problems []Problem
}

// Error lists the problems, one on each line.
func (e *ParseError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// decoder reads the sections of a policy.
type decoder struct{ *strict.Decoder }

// newDecoder returns a decoder without problems. empty is appended to the error message for an
// empty file.
func newDecoder(file, empty string) *decoder { return &decoder{strict.NewDecoder(file, empty)} }

func (d *decoder) position(n *yaml.Node) Position { return Position(d.Position(n)) }

func (d *decoder) problemAt(at Position, format string, args ...any) {
	d.ProblemAt(strict.Position(at), format, args...)
}

// err returns a *ParseError with all problems, or nil.
func (d *decoder) err() error {
	found := d.Problems()
	if len(found) == 0 {
		return nil
	}
	problems := make([]Problem, len(found))
	for i, p := range found {
		problems[i] = Problem{Position(p.Position), p.Message}
	}
	return &ParseError{Problems: problems}
}
