package output

import "github.com/imagegate/imagegate/internal/observe"

// structuredVerdict writes the verdict to standard error as one JSON object on a line. It does so even
// if a report has the verdict, because a log system may get only the log.
func (o *Writer) structuredVerdict() {
	observe.LogVerdict(o.Streams.Err, o.Report)
}
