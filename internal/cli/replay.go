package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/reference"
	"github.com/imagegate/imagegate/internal/replay"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/run"
	"github.com/imagegate/imagegate/policy"
)

// replayFormats are the output formats of the command replay.
var replayFormats = []report.ResultFormat[replay.Result]{{Name: "text", Write: replay.Text}, {Name: "json", Write: replay.JSON}}

func replayCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:      "replay",
		Usage:     "evaluate a recorded run again, and say whether the result is the same",
		ArgsUsage: "RECORD",
		Description: "RECORD is a JSON report or an audit log; - reads standard input. Without --policy, the policy\n" +
			"files that the record names are read. The time of evaluation is the recorded one.\n\n" +
			"A JSON report has the evidence, so nothing else is read. For an audit record, --report names\n" +
			"the JSON report of the same run. Without a report, or with --rescan, the image is read from\n" +
			"its registry by digest and matched with the database in the cache.\n\n" +
			"The exit code is 0 if the decision, its rules and its exceptions are the same, and 6 if not.",
		Flags: []cli.Flag{policyFlag,
			&cli.StringFlag{Name: "report", Usage: "for an audit record, read the evidence from the JSON report in `FILE`"},
			&cli.StringFlag{Name: "id", Usage: "in an audit log, replay the record whose id begins with `ID` (default: the last record that has a decision)"},
			&cli.BoolFlag{Name: "rescan", Usage: "read the image again, also if a JSON report has the evidence"},
			&cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the result as `FORMAT[=FILE]`: " + report.List(report.ResultNames(replayFormats)) + ". Repeatable (default: text)"},
			vexFlag, insecureFlag, trustedRootFlag, tufMirrorFlag, tufRootFlag, cacheFlag, cacheMaxFlag, tempFlag, sharedFlag, offlineFlag, logFlag, progressFlag, colorFlag, quietFlag},
		Action: func(c *cli.Context) error { return runReplay(c, s) },
	}
}

func runReplay(c *cli.Context, s Streams) error {
	args, err := arguments(c, 1, 1, "one RECORD")
	if err != nil {
		return err
	}
	targets, err := output.ParseTargets(c.StringSlice("output"), report.ResultNames(replayFormats),
		append(c.StringSlice("policy"), args[0], c.String("report"))...)
	if err != nil {
		return err
	}
	record, err := readRecord(c, s, args[0])
	if err != nil {
		return err
	}
	policies, err := policiesOf(c, record.Run.Policy.File)
	if err != nil {
		return err
	}
	var again report.Report
	if record.Report != nil && !c.Bool("rescan") {
		again = record.Evaluate(policies)
		again.Tool = reportTool()
	} else if again, err = rescan(c, s, record, policies); err != nil {
		return err
	}
	result := replay.Compare(record, again)
	if err := writeAnswer(s, targets, result, replayFormats); err != nil {
		return err
	}
	if !result.Same {
		return exit.Trust(errors.New("the replay comes out differently than the record says"))
	}
	return nil
}

// maxRecordBytes is the maximum size of a JSON report or an audit log.
const maxRecordBytes = 1 << 30

// readRecord reads an audit record or a JSON report from path, and the report that belongs to the
// record.
func readRecord(c *cli.Context, s Streams, path string) (replay.Record, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(io.LimitReader(s.In, maxRecordBytes))
	} else {
		data, err = readBounded("record", path, maxRecordBytes)
	}
	if err != nil {
		return replay.Record{}, err
	}
	record, err := replay.Read(data, c.String("id"))
	if err != nil {
		return record, exit.Usage(fmt.Errorf("%q: %w", path, err))
	}
	file := c.String("report")
	switch {
	case file == "":
		return record, nil
	case record.Report != nil:
		return record, exit.Usagef("--report cannot be used, because RECORD is a JSON report itself")
	}
	if data, err = readBounded("report", file, maxRecordBytes); err == nil {
		err = record.AddReport(data)
	}
	if err != nil {
		return record, exit.Usage(fmt.Errorf("--report %q: %w", file, err))
	}
	return record, nil
}

// rescan checks the image of a record again: the same digest, as of the recorded time, but with the
// current database in the cache.
func rescan(c *cli.Context, s Streams, record replay.Record, policies policy.Set) (r report.Report, err error) {
	src, err := recordedSource(record)
	if err != nil {
		return r, exit.Usage(err)
	}
	progress, stop, err := newProgress(c, s)
	if err != nil {
		return r, err
	}
	defer stop()
	job := run.Check{}
	if job.Evidence, err = evidenceFor(c, policies); err != nil {
		return r, err
	}
	db, err := openDatabase(c)
	if err != nil {
		return r, err
	}
	defer func() { err = run.JoinCleanup(err, db.Close()) }()
	at := record.Run.EvaluatedAt
	if job.Gate, err = newGate(c, policies, db, progress, func() time.Time { return at }, time.Time{}); err != nil {
		return r, err
	}
	r.Tool, r.Command, r.Input.Image.Reference, r.Policy = reportTool(), "check", record.Run.Image.Reference, run.Policy(policies)
	if _, err := job.Run(c.Context, src, &r); err != nil {
		return r, err
	}
	return r, nil
}

// recordedSource returns the image of a record by its digest, because the tag may have moved.
func recordedSource(record replay.Record) (gate.Source, error) {
	src, err := reference.Source(record.Run.Image.Reference)
	if err != nil {
		return src, err
	}
	src.Digest, err = v1.NewHash(record.Run.Image.Digest)
	return src, err
}
