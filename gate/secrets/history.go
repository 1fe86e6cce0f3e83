package secrets

import (
	"regexp"
	"strconv"
	"strings"
)

// pair is an assignment NAME=value in a line of the image's history.
type pair struct {
	what        string // what is assigned: "variable", "label" or "build argument"
	name, value string
}

const nameBegin = `("[^"\s]+"|'[^'\s]+'|[A-Za-z0-9_][\w./-]*)=`

var (
	nop        = regexp.MustCompile(`^(?:/bin/sh -c\s+|cmd /S /C\s+)?#\(nop\)\s+`)
	buildArgs  = regexp.MustCompile(`^\|([0-9]{1,4})\s+`)
	start      = regexp.MustCompile(`^` + nameBegin)
	next       = regexp.MustCompile(`\s` + nameBegin)
	shell      = regexp.MustCompile(`\s/\S*sh\s`)
	anyCommand = regexp.MustCompile(`\s/`)
	space      = regexp.MustCompile(`\s`)
)

// instructions are the Dockerfile instructions that consist only of assignments. The values of
// the map describe the assigned names.
var instructions = map[string]string{"ENV": "variable", "LABEL": "label", "ARG": "build argument"}

// parseHistory splits a line of the history into assignments and the remaining text. It supports
// the formats of Docker's builder, BuildKit, Buildah and Kaniko. A line does not mark the end of a
// value with spaces, so a value ends at the next " NAME=".
func parseHistory(line string) (pairs []pair, rest string) {
	line = strings.TrimSpace(line)
	line = nop.ReplaceAllString(line, "")
	line = strings.TrimSpace(strings.TrimSuffix(line, "# buildkit"))
	instruction, arguments := cutSpace(line)
	what, ok := instructions[strings.ToUpper(instruction)]
	if ok {
		return pairsOf(what, arguments)
	}
	if strings.EqualFold(instruction, "RUN") {
		line = arguments
	}
	m := buildArgs.FindStringSubmatch(line)
	if m == nil {
		return nil, line
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return nil, line
	}
	return argumentsOf(n, line[len(m[0]):])
}

func cutSpace(s string) (first, rest string) {
	if at := space.FindStringIndex(s); at != nil {
		return s[:at[0]], strings.TrimSpace(s[at[1]:])
	}
	return s, ""
}

// pairsOf parses "A=1 B=2", or "A 1" as in old Dockerfiles. rest is the text that is not an
// assignment.
func pairsOf(what, s string) (out []pair, rest string) {
	if name, value := cutSpace(s); name != "" && !strings.Contains(name, "=") {
		return []pair{{what, unquoted(name), value}}, ""
	}
	for s != "" {
		m := start.FindStringSubmatchIndex(s)
		if m == nil {
			return out, s
		}
		name := unquoted(s[m[2]:m[3]])
		s = s[m[1]:]
		end := endOfValue(s)
		out = append(out, pair{what, name, s[:end]})
		s = strings.TrimSpace(s[end:])
	}
	return out, ""
}

// endOfValue returns the offset in s where the value at its beginning ends.
func endOfValue(s string) int {
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		if at := strings.IndexByte(s[1:], s[0]); at >= 0 {
			if end := at + 2; end == len(s) || space.MatchString(s[end:end+1]) {
				return end
			}
		}
	}
	if at := next.FindStringIndex(s); at != nil {
		return at[0]
	}
	return len(s)
}

// argumentsOf parses the n build arguments before a command: "A=1 B=2 /bin/sh -c ...".
func argumentsOf(n int, s string) (out []pair, rest string) {
	for range n {
		m := start.FindStringSubmatchIndex(s)
		if m == nil {
			return out, s
		}
		name := unquoted(s[m[2]:m[3]])
		s = s[m[1]:]
		end := endOfValue(s)
		if len(out) == n-1 || end == len(s) {
			end = endOfArguments(s)
		}
		out = append(out, pair{"build argument", name, s[:end]})
		s = strings.TrimSpace(s[end:])
	}
	return out, s
}

// endOfArguments returns the end of the last build argument's value: the position of the shell,
// else of the next absolute path, else of the first space.
func endOfArguments(s string) int {
	for _, before := range []*regexp.Regexp{shell, anyCommand, space} {
		if at := before.FindStringIndex(s); at != nil {
			return at[0]
		}
	}
	return len(s)
}
