// Command bench compares imagegate with the equivalent shell pipeline: syft, grype, crane copy,
// cosign sign and two cosign attest. "make bench" builds the programs and runs it.
//
// The benchmark makes an image, and a vulnerability database for its packages, once, and keeps them
// in the work folder (image.go, debian.go, records.go). Local registries count the bytes that are
// read and written (place.go). The benchmark runs each subject several times, in turn, as a
// separate process (subjects.go, pipeline.go, process.go). It computes medians and ratios
// (figures.go), and writes them as a table, a plot and a page (markdown.go, plot.go, page.go).
//
// The results compare programs on one machine. The benchmark fails only if a program fails, and
// never because a program is slow.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	var o options
	flag.StringVar(&o.images, "image", "big,small", "measure with these `IMAGES`, big and small, separated by commas")
	flag.IntVar(&o.rounds, "n", 5, "run everything `N` times and take the medians")
	flag.StringVar(&o.bin, "bin", "bin/bench", "the `FOLDER` with imagegate, syft, grype, crane and cosign")
	flag.StringVar(&o.work, "work", "bin/bench/work", "keep images and databases in `FOLDER`, for the next time")
	flag.StringVar(&o.from, "from", "", "measure nothing, and take the results from the JSON `FILE` of an earlier run")
	flag.StringVar(&o.json, "o", "", "write the results as JSON to `FILE`")
	flag.StringVar(&o.table, "table", "", "write the table as Markdown to `FILE`, besides printing it")
	flag.StringVar(&o.page, "docs", "", "put table and plot into the Markdown `FILE`, the plot next to it as .svg")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the values of the flags.
type options struct {
	images, bin, work, from string
	json, table, page       string
	rounds                  int
}

func (o options) run(ctx context.Context) error {
	results, err := o.results(ctx)
	if err != nil {
		return err
	}
	text := results.markdown()
	fmt.Print(text)
	if o.json != "" {
		data, err := json.MarshalIndent(results, "", "  ")
		if err != nil {
			return err
		}
		if err := writeFile(o.json, append(data, '\n')); err != nil {
			return err
		}
	}
	if o.table != "" {
		if err := writeFile(o.table, []byte(text)); err != nil {
			return err
		}
	}
	if o.page != "" {
		return writePage(o.page, results)
	}
	return nil
}

// results runs the measurements, or reads the results of an earlier run from a file.
func (o options) results(ctx context.Context) (*Results, error) {
	if o.from == "" {
		return o.measure(ctx)
	}
	data, err := os.ReadFile(o.from)
	if err != nil {
		return nil, fmt.Errorf("reading earlier results: %w", err)
	}
	var r Results
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("reading earlier results from %s: %w", o.from, err)
	}
	return &r, nil
}

func (o options) measure(ctx context.Context) (*Results, error) {
	if o.rounds < 1 {
		return nil, errors.New("-n must be at least 1")
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return nil, err
	}
	work, err := filepath.Abs(o.work)
	if err != nil {
		return nil, err
	}
	results := &Results{Rounds: o.rounds, Machine: thisMachine()}
	if results.Programs, err = programs(bin); err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(o.images, ",") {
		r, ok := recipes[name]
		if !ok {
			return nil, fmt.Errorf("unknown image %q: must be big or small", name)
		}
		r.name = name
		result, err := measureImage(ctx, bin, work, r, o.rounds)
		if err != nil {
			return nil, fmt.Errorf("measuring with the %s image: %w", name, err)
		}
		results.Images = append(results.Images, *result)
	}
	return results, nil
}

func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
