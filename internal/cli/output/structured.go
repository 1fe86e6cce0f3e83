package output

import "github.com/imagegate/imagegate/internal/observe"

// structuredVerdict writes the verdict to standard error as one line of JSON. It does so even if a
// report on standard output has the verdict, because a log system may collect only standard error.
func (o *Writer) structuredVerdict() {
	observe.LogVerdict(o.Streams.Err, o.Report)
}
