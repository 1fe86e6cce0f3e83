package observe

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/imagegate/imagegate/internal/report"
)

// board is a progress display at the bottom of a terminal, with one line for each running step. A
// step that ends leaves a line above.
type board struct {
	w     io.Writer
	width func() int
	color bool
	drawn int // the number of lines that the next update redraws
}

// ANSI escape sequences:
// https://www.ecma-international.org/publications-and-standards/standards/ecma-48/
const (
	clearBelow = "\x1b[J"
	cursorUp   = "\x1b[%dA"
	green      = "\x1b[32m"
	red        = "\x1b[31m"
	noColor    = "\x1b[0m"
)

// digests matches digests. They are shortened to save space.
var digests = regexp.MustCompile(`(sha256:[0-9a-f]{12})[0-9a-f]{52}`)

func (b *board) ended(s *running, took time.Duration, err error, others []*running, now time.Time) {
	done, _ := s.bytes()
	mark, color := "✓", green
	text := label(s)
	if done > 0 {
		text += "  " + Bytes(done)
	}
	text += fmt.Sprintf("  %.1fs", took.Seconds())
	if err != nil { // show only that the step failed, because the error is printed at the end of the run
		mark, color, text = "✗", red, label(s)
	}
	text = b.fit(text, 2)
	if b.color {
		mark = color + mark + noColor
	}
	b.draw([]string{mark + " " + text}, others, now)
}

func (b *board) tick(steps []*running, now time.Time) { b.draw(nil, steps, now) }

func (b *board) close() { b.draw(nil, nil, time.Time{}) }

// draw redraws the lines of the running steps. The lines in stay are written above them and are not
// redrawn later. draw makes only one write, so that the terminal does not flicker.
func (b *board) draw(stay []string, steps []*running, now time.Time) {
	if len(stay)+len(steps)+b.drawn == 0 {
		return
	}
	var out strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&out, cursorUp, b.drawn)
	}
	out.WriteString("\r" + clearBelow)
	for _, line := range stay {
		out.WriteString(line + "\n")
	}
	for _, s := range steps {
		out.WriteString(b.fit("  "+label(s)+"  "+status(s, now), 0) + "\n")
	}
	b.drawn = len(steps)
	_, _ = io.WriteString(b.w, out.String()) // a failure of the display must not stop the run
}

// label returns the stage and the subject of a step.
func label(s *running) string {
	return fmt.Sprintf("%-8s%s", s.Stage, digests.ReplaceAllString(report.Sanitize(s.Subject), "$1"))
}

// status returns the progress of a running step.
func status(s *running, now time.Time) string {
	v := s.speed(now)
	if v.done == 0 {
		return fmt.Sprintf("%.0fs", now.Sub(s.began).Seconds())
	}
	out := Bytes(v.done)
	if v.total > v.done {
		out += fmt.Sprintf(" of %s, %d%%", Bytes(v.total), v.done*100/v.total)
	}
	if v.perSecond > 0 {
		out += ", " + Bytes(v.perSecond) + "/s"
	}
	if v.left > 0 {
		out += fmt.Sprintf(", %s left", v.left.Round(time.Second))
	}
	return out
}

// fit cuts a line to the width of the terminal, minus less columns. A longer line would wrap, and
// the next redraw would not remove all of it.
func (b *board) fit(line string, less int) string {
	width := 0
	if b.width != nil {
		width = b.width()
	}
	if width <= 0 {
		width = 80
	}
	width = max(width-1-less, 10)
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}
