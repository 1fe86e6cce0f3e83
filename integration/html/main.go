// Command html writes the HTML reports that the browser tests, the benchmark and the screenshots
// load, and the text reports for a terminal. "make test-html" and "make images" run it. Each report
// shows the decision of a real policy about made-up evidence.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/imagegate/imagegate/internal/formats/html"
	"github.com/imagegate/imagegate/internal/report"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: html FOLDER")
		os.Exit(3)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "html:", err)
		os.Exit(1)
	}
}

// run writes a page for each report. Next to each page, it writes the counts that the page must
// show.
func run(folder string) error {
	reports := map[string]report.Report{
		"denied": denied(), "passed": passed(), "promoted": promoted(), "failed": failed(), "unfinished": unfinished(),
		"overridden": overridden(), "verified": verified(report.Verified), "signed": verified(report.SignatureVerified), "empty": {Schema: report.Schema}, "hostile": hostile(), "large": large(20_000),
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, r := range reports {
		var page bytes.Buffer
		if err := html.Write(&page, r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, name+".html"), page.Bytes(), 0o644); err != nil {
			return err
		}
		var text bytes.Buffer
		options := report.TextOptions{Color: true, Width: 92, CommandLine: report.CommandLine{
			Approved: []string{"registry.example/shop/checkout:2.14.0"}, Report: "report.json", Policies: []string{"policy.yaml"}, Verify: []string{"--key", "cosign.pub"}}}
		if err := options.Text(&text, r); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, name+".ansi"), text.Bytes(), 0o644); err != nil {
			return err
		}
		v := r.Verdict()
		expected := fmt.Sprintf(`{"word":%q,"outcome":%q,"evaluated":%t,"counts":[%d,%d,%d,%d]}`+"\n", v.Word, v.Outcome, r.Decision != nil,
			v.Counts.Blocking, v.Counts.Warnings, v.Counts.Excepted, v.Counts.NotAffected)
		if err := os.WriteFile(filepath.Join(folder, name+".json"), []byte(expected), 0o644); err != nil {
			return err
		}
	}
	return nil
}
