package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/cli/exit"
	"github.com/imagegate/imagegate/internal/observe"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy/evidence"
)

var (
	feedFlag      = &cli.StringFlag{Name: "url", EnvVars: []string{"IMAGEGATE_DB_URL"}, Usage: "download the database from the mirror at `URL` (default: grype's public distribution)"}
	plainFeedFlag = &cli.BoolFlag{Name: "insecure-plain-http", Usage: "allow plain HTTP for the download. Loopback addresses do not need the flag"}
)

func dbCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:  "db",
		Usage: "manage the vulnerability database",
		Description: "Run \"imagegate db update\" once a day: no other command downloads the database. You can update\n" +
			"during a check: the check continues to use the database that was current when it started.",
		Subcommands: []*cli.Command{{
			Name:        "update",
			Usage:       "download the newest database",
			Description: "Downloads the database from grype's public distribution or a mirror, verifies its checksum, and\nreplaces the current database atomically.",
			Flags: []cli.Flag{cacheFlag, sharedFlag, offlineFlag, logFlag, progressFlag, colorFlag, quietFlag,
				feedFlag, plainFeedFlag,
				&cli.StringFlag{Name: "checksum", EnvVars: []string{"IMAGEGATE_DB_CHECKSUM"}, Usage: "accept only the database archive with the checksum `SHA256`, as sha256:<hex>"},
				&cli.StringFlag{Name: "archive-dir", Usage: "keep the downloaded archive in `DIR`, and use it instead of a download if it has the checksum in the mirror"},
				&cli.BoolFlag{Name: "allow-older", Usage: "accept a database that is older than the current one"}},
			Action: func(c *cli.Context) error { return runDBUpdate(c, s) },
		}, {
			Name:   "status",
			Usage:  "show the current database",
			Flags:  []cli.Flag{cacheFlag, sharedFlag},
			Action: func(c *cli.Context) error { return runDBStatus(c, s) },
		}, {
			Name:        "import",
			Usage:       "import a database from a file or a mirror",
			ArgsUsage:   "FILE|DIR",
			Description: "Imports the database archive FILE, or the newest archive in DIR, a mirror that \"db build\" wrote.",
			Flags: []cli.Flag{cacheFlag, sharedFlag,
				&cli.StringFlag{Name: "checksum", EnvVars: []string{"IMAGEGATE_DB_CHECKSUM"}, Usage: "accept only a database archive with the checksum `SHA256`, as sha256:<hex>"}},
			Action: func(c *cli.Context) error { return runDBImport(c, s) },
		}, {
			Name:      "build",
			Usage:     "build a database from provider records",
			ArgsUsage: "DIR",
			Description: "DIR has a folder for each provider. A provider folder contains the records that vunnel writes, or\n" +
				"your own JSON records, such as OSV documents. If PATH is an archive, use it with \"db import\". If\n" +
				"PATH is a folder, \"db import\" can also read it, and you can serve the folder over HTTP as a\n" +
				"mirror for \"db update --url\" and for grype.",
			Flags: []cli.Flag{tempFlag, sharedFlag,
				&cli.StringFlag{Name: "to", Usage: "write the database to `PATH`: an archive that ends in .tar.zst or .tar.gz, or a folder, which becomes a mirror"}},
			Action: func(c *cli.Context) error { return runDBBuild(c, s) },
		}},
	}
}

func runDBUpdate(c *cli.Context, s Streams) error {
	if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	if c.Bool("offline") {
		return exit.Usagef("db update needs the network: it cannot run with --offline")
	}
	dir, err := databaseDir(c)
	if err != nil {
		return err
	}
	progress, stop, err := newProgress(c, s)
	if err != nil {
		return err
	}
	result, err := vulndb.Update(c.Context, vulndb.UpdateOptions{
		Dir: dir, URL: c.String("url"), Checksum: c.String("checksum"), AllowOlder: c.Bool("allow-older"),
		ArchiveDir: c.String("archive-dir"), InsecurePlainHTTP: c.Bool("insecure-plain-http"), Now: time.Now,
		Progress: func(done, total int64) {
			progress.Bytes(gate.Step{Stage: gate.Pull}, "vulnerability database", done, total)
		},
	})
	stop()
	if err != nil {
		return exit.Database(err)
	}
	if !result.Updated {
		fmt.Fprintln(s.Out, "up to date")
	}
	return printDatabase(s.Out, result.Database)
}

func runDBStatus(c *cli.Context, s Streams) error {
	if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	dir, err := databaseDir(c)
	if err != nil {
		return err
	}
	status, err := vulndb.ReadStatus(c.Context, dir)
	if err != nil {
		return err
	}
	if status.Folder != "" {
		fmt.Fprintf(s.Out, "folder     %s, %s, installed %s\n", status.Folder, observe.Bytes(status.Size), status.Installed.UTC().Format(time.RFC3339))
		if err := printDatabase(s.Out, status.Database); err != nil {
			return err
		}
	}
	return status.Err
}

func runDBImport(c *cli.Context, s Streams) error {
	args, err := arguments(c, 1, 1, "one FILE or DIR")
	if err != nil {
		return err
	}
	if _, err := os.Stat(args[0]); err != nil {
		return exit.Usage(&exit.FileError{What: "database", Path: args[0], Err: err})
	}
	dir, err := databaseDir(c)
	if err != nil {
		return err
	}
	info, err := vulndb.Import(c.Context, vulndb.ImportOptions{Dir: dir, File: args[0], Checksum: c.String("checksum"), Now: time.Now})
	if err != nil {
		return exit.Database(err)
	}
	return printDatabase(s.Out, info)
}

func runDBBuild(c *cli.Context, s Streams) error {
	args, err := arguments(c, 1, 1, "one DIR")
	if err != nil {
		return err
	}
	dir, err := tempDir(c)
	if err != nil {
		return err
	}
	if c.String("to") == "" {
		return exit.Usagef("no output path given: use --to PATH")
	}
	result, err := vulndb.Build(c.Context, vulndb.BuildOptions{From: args[0], To: c.String("to"), TempDir: dir, Now: time.Now})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "%s\n%s\n", report.Sanitize(result.Archive), result.Checksum)
	for _, name := range slices.Sorted(maps.Keys(result.Records)) {
		fmt.Fprintf(s.Out, "  %s: %d records\n", report.Sanitize(name), result.Records[name])
	}
	if !c.Bool("quiet") {
		fmt.Fprintf(s.Err, "import it with \"imagegate db import %s\"\n", report.Sanitize(c.String("to")))
	}
	return nil
}

func printDatabase(w io.Writer, d evidence.Database) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "schema\t%s\n", report.Sanitize(d.Schema))
	fmt.Fprintf(tw, "built\t%s\n", d.Built.UTC().Format(time.RFC3339))
	fmt.Fprintf(tw, "digest\t%s\n", report.Sanitize(d.Digest))
	fmt.Fprintf(tw, "source\t%s\n", report.Sanitize(d.Source))
	for _, p := range d.Providers {
		captured := "unknown"
		if !p.Captured.IsZero() {
			captured = p.Captured.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(tw, "provider\t%s\tcaptured %s\n", report.Sanitize(p.Name), captured)
	}
	return tw.Flush()
}
