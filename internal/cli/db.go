package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/gate/vulndb"
	"github.com/imagegate/imagegate/internal/report"
	"github.com/imagegate/imagegate/policy"
)

func dbCommand(s Streams) *cli.Command {
	return &cli.Command{
		Name:  "db",
		Usage: "work with the vulnerability database",
		Description: "A check never updates the database by itself: run \"db update\" before it, once a day. Commands\n" +
			"may run side by side; a check keeps the database that it began with.",
		Subcommands: []*cli.Command{{
			Name:        "update",
			Usage:       "fetch the newest database",
			Description: "Fetches from grype's public distribution or a mirror of it, verifies the checksum, and puts\nthe new database in place of the old one in one step.",
			Flags: []cli.Flag{cacheFlag, sharedFlag, offlineFlag, logFlag, quietFlag,
				&cli.StringFlag{Name: "url", EnvVars: []string{"IMAGEGATE_DB_URL"}, Usage: "fetch from the mirror at `URL`"},
				&cli.StringFlag{Name: "checksum", EnvVars: []string{"IMAGEGATE_DB_CHECKSUM"}, Usage: "take only the archive with this `SHA256`, as sha256:<hex>"},
				&cli.BoolFlag{Name: "allow-older", Usage: "take a database that was built before the current one"},
				&cli.BoolFlag{Name: "insecure-plain-http", Usage: "allow a mirror without TLS that is not on this machine"}},
			Action: func(c *cli.Context) error { return runDBUpdate(c, s) },
		}, {
			Name:   "status",
			Usage:  "say which database there is",
			Flags:  []cli.Flag{cacheFlag, sharedFlag},
			Action: func(c *cli.Context) error { return runDBStatus(c, s) },
		}, {
			Name:      "import",
			Usage:     "take a database from a file",
			ArgsUsage: "FILE",
			Flags: []cli.Flag{cacheFlag, sharedFlag,
				&cli.StringFlag{Name: "checksum", EnvVars: []string{"IMAGEGATE_DB_CHECKSUM"}, Usage: "take the file only with this `SHA256`, as sha256:<hex>"}},
			Action: func(c *cli.Context) error { return runDBImport(c, s) },
		}, {
			Name:      "build",
			Usage:     "make a database archive from provider records",
			ArgsUsage: "DIR",
			Description: "DIR has a folder for each provider, as vunnel writes them, or with JSON records kept by hand,\n" +
				"such as OSV documents. With a folder as --to, it holds an archive for \"db import\" and, served\n" +
				"over HTTP, is a mirror for \"db update --url\" and for grype.",
			Flags: []cli.Flag{tempFlag, sharedFlag,
				&cli.StringFlag{Name: "to", Usage: "write a mirror into the folder, or a single archive ending in .tar.zst or .tar.gz, `PATH`"}},
			Action: func(c *cli.Context) error { return runDBBuild(c, s) },
		}},
	}
}

func runDBUpdate(c *cli.Context, s Streams) error {
	if _, err := arguments(c, 0, 0, "no arguments"); err != nil {
		return err
	}
	if c.Bool("offline") {
		return usagef("db update needs the network: --offline and it exclude each other")
	}
	dir, err := databaseDir(c)
	if err != nil {
		return err
	}
	progress, stop, err := newProgress(s.Err, c.String("log-format"), c.Bool("quiet"))
	if err != nil {
		return err
	}
	result, err := vulndb.Update(c.Context, vulndb.UpdateOptions{
		Dir: dir, URL: c.String("url"), Checksum: c.String("checksum"), AllowOlder: c.Bool("allow-older"),
		InsecurePlainHTTP: c.Bool("insecure-plain-http"), Now: time.Now,
		Progress: func(done, total int64) { progress.Bytes(gate.Pull, "vulnerability database", done, total) },
	})
	stop()
	if err != nil {
		return err
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
		fmt.Fprintf(s.Out, "folder     %s, %s, installed %s\n", status.Folder, bytesOf(status.Size), status.Installed.UTC().Format(time.RFC3339))
		if err := printDatabase(s.Out, status.Database); err != nil {
			return err
		}
	}
	return status.Err
}

func runDBImport(c *cli.Context, s Streams) error {
	args, err := arguments(c, 1, 1, "one FILE")
	if err != nil {
		return err
	}
	dir, err := databaseDir(c)
	if err != nil {
		return err
	}
	info, err := vulndb.Import(c.Context, vulndb.ImportOptions{Dir: dir, File: args[0], Checksum: c.String("checksum"), Now: time.Now})
	if err != nil {
		return err
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
		return usagef("no place for the archive: name one with --to")
	}
	result, err := vulndb.Build(c.Context, vulndb.BuildOptions{From: args[0], To: c.String("to"), TempDir: dir, Now: time.Now})
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "%s\n%s\n", report.Sanitize(result.Archive), result.Checksum)
	for _, name := range slices.Sorted(maps.Keys(result.Records)) {
		fmt.Fprintf(s.Out, "  %s: %d records\n", report.Sanitize(name), result.Records[name])
	}
	return nil
}

func printDatabase(w io.Writer, d policy.Database) error {
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
