package output

import "github.com/imagegate/imagegate/internal/observe"

// structuredVerdict writes the verdict to standard error as one JSON object on a line, also if a
// report has it: whoever reads structured logs may see only them.
func (o *Writer) structuredVerdict() {
	observe.LogVerdict(o.Streams.Err, o.Report)
}
