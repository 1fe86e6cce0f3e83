package output

import (
	"io"
	"os"
	"slices"

	"github.com/imagegate/imagegate/internal/observe"
	"github.com/imagegate/imagegate/internal/report"
)

// textOptions returns the options of a text report on w: lines as wide as the terminal, and colors
// as --color selects.
func (o *Writer) textOptions(w io.Writer) report.TextOptions {
	options := o.Text
	options.Width = observe.Width(w)
	options.Color, _ = observe.UseColor(o.Color, os.Getenv, observe.IsTerminal(w, os.Getenv)) // an invalid value was refused
	return options
}

// lastLines writes the verdict to standard error, unless a text report on the same terminal already
// shows it. After a failure it is followed by the error, which a text report on standard output
// omits. A usage error has no verdict. In structured logs, the verdict is one JSON line.
func (o *Writer) lastLines() {
	switch failure := o.Report.Error; {
	case o.Structured:
		o.structuredVerdict()
	case failure == nil && o.showsText():
	case failure != nil && failure.Class == report.ClassUsage:
	default:
		_ = o.textOptions(o.Streams.Err).Verdict(o.Streams.Err, o.Report) // standard error may be closed
	}
}

// showsText reports whether a text report goes to the same place as standard error, such as a
// terminal.
func (o *Writer) showsText() bool {
	onOut := slices.ContainsFunc(o.Targets, func(t Target) bool { return t.Format == "text" && t.File == "" })
	return onOut && (observe.Width(o.Streams.Out) > 0 || observe.Width(o.Streams.Err) == 0)
}
