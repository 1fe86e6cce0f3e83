package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/audit"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/cli/output"
	"github.com/imagegate/imagegate/internal/formats"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/internal/telemetry"
	"github.com/imagegate/imagegate/internal/trust"
)

var detailsFlag = &cli.BoolFlag{Name: "details", EnvVars: []string{"IMAGEGATE_DETAILS"}, Usage: "list everything in the text report: each finding with its rule, and what does not block"}

var (
	auditFlag   = &cli.StringFlag{Name: "audit-log", EnvVars: []string{"IMAGEGATE_AUDIT_LOG"}, Usage: "append an audit record of the run to `LOG`: a file, - for standard output, syslog, or the URL of a syslog server. If the record cannot be written, no tag is written"}
	metricsFlag = &cli.StringFlag{Name: "metrics-file", EnvVars: []string{"IMAGEGATE_METRICS_FILE"}, Usage: "write metrics of the run to `FILE`, for Prometheus' textfile collector"}
)

// newOutput validates the flags for reports and records, and starts the progress display. The caller
// must defer Finish.
func newOutput(c *cli.Context, s Streams, command string, image fmt.Stringer) (*output.Writer, error) {
	targets, err := output.ParseTargets(c.StringSlice("output"), formats.Names())
	if err != nil {
		return nil, err
	}
	if dir := c.String("evidence-dir"); dir != "" {
		// Check the folder before the run: after the promotion, an error would come too late.
		if err := checkEvidenceDir(c, dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, exit.Usage(fmt.Errorf("--evidence-dir: %w", err))
		}
		if err := output.CheckNewFolder(dir); err != nil {
			return nil, exit.Usage(fmt.Errorf("--evidence-dir: cannot write into %q: %w", dir, err))
		}
	}
	opts := output.Options{Streams: s, Command: command, Image: image.String(), Targets: targets, Color: c.String(colorFlag.Name),
		Tool:       reportTool(),
		Text:       report.TextOptions{Details: c.Bool(detailsFlag.Name), CommandLine: commandLine(c, command, targets)},
		Inputs:     inputFiles(c, image),
		Structured: c.String(logFlag.Name) == "json"}
	if slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool { return f == tempFlag }) {
		if opts.TempDir, err = tempDir(c); err != nil {
			return nil, err
		}
	}
	if opts.Records, err = newRecords(c, s, command); err != nil {
		return nil, err
	}
	if opts.Progress, opts.Stop, err = newProgress(c, s); err != nil {
		return nil, err
	}
	return output.New(c.Context, opts)
}

// inputFiles returns the local files and folders that a run reads.
func inputFiles(c *cli.Context, image fmt.Stringer) []string {
	files := slices.Concat(c.StringSlice("policy"), c.StringSlice("vex"))
	if key := c.String("key"); key != "" && !trust.IsKMS(key) {
		files = append(files, key)
	}
	if src, ok := image.(gate.Source); ok && src.Path != "" {
		files = append(files, src.Path)
	}
	return files
}

// newRecords returns the destinations of the audit record, the metrics and the trace that the flags
// and the environment select.
func newRecords(c *cli.Context, s Streams, command string) (r output.Records, err error) {
	for _, name := range []string{auditFlag.Name, metricsFlag.Name} {
		if c.IsSet(name) && c.String(name) == "" { // a variable that is not set must not lose the records
			return r, exit.Usagef("--%s is empty: give a value, or omit the flag", name)
		}
	}
	r.Audit, r.Metrics = c.String(auditFlag.Name), c.String(metricsFlag.Name)
	if command == "promote" {
		r.Requested = c.Args().Tail()
	}
	if r.Audit != "" {
		if r.Spool, err = auditSpool(c); err != nil {
			return r, err
		}
		name := ""
		if account, err := user.Current(); err == nil {
			name = account.Username
		}
		r.Host, _ = os.Hostname() // the record only has less detail
		r.Actor = audit.NewActor(name, r.Host, func(name string) string { return exit.Redact(os.Getenv(name)) })
	}
	r.Trace, err = startTrace(c, s, command)
	return r, err
}

// auditSpool returns the folder that keeps audit records until they are delivered. It returns "" if
// no folder is available, which only an audit log in a file allows.
func auditSpool(c *cli.Context) (string, error) {
	target := c.String(auditFlag.Name)
	if c.Bool("offline") && audit.IsRemote(target) {
		return "", exit.Usagef("--offline cannot be used with --audit-log %s, which needs the network", target)
	}
	dir, err := cacheDir(c)
	switch {
	case err == nil:
		return filepath.Join(dir, "audit"), nil
	case audit.IsFile(target):
		return "", nil
	}
	return "", err
}

// startTrace starts a trace if the environment names an OpenTelemetry collector. Otherwise it
// returns nil.
func startTrace(c *cli.Context, s Streams, command string) (*telemetry.Trace, error) {
	asked, reason := telemetry.Wanted(os.Getenv)
	if asked && c.Bool("offline") {
		reason = "--offline"
	}
	if reason != "" {
		fmt.Fprintf(s.Err, "imagegate: warning: no trace is exported: %s\n", report.Sanitize(reason))
	}
	if !asked || reason != "" {
		return nil, nil
	}
	trace, err := telemetry.StartTrace(c.Context, telemetry.TraceOptions{Command: command, Version: tool().Version,
		TraceParent: os.Getenv("TRACEPARENT"), TraceState: os.Getenv("TRACESTATE"), Getenv: os.Getenv, Redact: exit.Redact})
	if err != nil {
		fmt.Fprintf(s.Err, "imagegate: warning: no trace is exported: %s\n", report.Sanitize(exit.Redact(err.Error())))
		return nil, nil
	}
	return trace, nil
}

// commandLine returns the arguments of this run that the report repeats in its verdict and its
// suggested commands.
func commandLine(c *cli.Context, command string, targets []output.Target) report.CommandLine {
	line := report.CommandLine{Policies: c.StringSlice("policy"), Platform: c.String("platform")}
	for _, t := range targets {
		if t.Format == "json" && t.File != "" {
			line.Report = t.File
		}
	}
	if command == "promote" {
		line.Approved = c.Args().Tail()
		line.Verify = verifyFlags(c)
	}
	return line
}

// verifyFlags returns the arguments of "imagegate verify" for an image that this command line
// promotes. Words in capitals, such as KEY, are placeholders for values that the user has to fill
// in.
func verifyFlags(c *cli.Context) []string {
	var flags []string
	switch key := c.String("key"); {
	case c.Bool(keylessFlag.Name):
		flags = append(flags, "--certificate-identity", "SUBJECT", "--certificate-oidc-issuer", "ISSUER")
	case trust.IsKMS(key):
		flags = append(flags, "--key", key)
	default:
		public := strings.TrimSuffix(key, ".key") + ".pub"
		if _, err := os.Stat(public); err != nil {
			public = "PUBLIC_KEY"
		}
		flags = append(flags, "--key", public)
	}
	for _, file := range c.StringSlice("policy") {
		flags = append(flags, "--policy", file)
	}
	for _, host := range c.StringSlice(insecureFlag.Name) {
		flags = append(flags, "--"+insecureFlag.Name, host)
	}
	return flags
}
