package policy

import (
	"cmp"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file of a policy, and where.
type Problem struct {
	Position Position `json:"position"`
	// Message says what is wrong in one sentence, without a trailing stop. It
	// quotes the file's text with %q, so it is printable as it is.
	Message string `json:"message"`
}

// String returns file:line:column: message.
func (p Problem) String() string { return p.Position.String() + ": " + p.Message }

// ParseError is everything that is wrong with a policy.
type ParseError struct {
	// Problems is never empty and is sorted by position.
	Problems []Problem
}

// Error lists the problems, one on a line.
func (e *ParseError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Position.File, b.Position.File),
			cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column),
		)
	})
}
