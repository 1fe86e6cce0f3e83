package policy

import (
	"cmp"
	"slices"
	"strings"
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

func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Position.File, b.Position.File),
			cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column),
		)
	})
}
