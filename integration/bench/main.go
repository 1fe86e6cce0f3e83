// Command bench compares imagegate with Trivy, and with the equivalent shell pipeline: syft, grype,
// crane copy, cosign sign and two cosign attest. "make bench" builds the programs and runs it.
//
// The benchmark makes images, and a vulnerability database for the packages of each image, once,
// and keeps them in the work folder (image.go, debian.go, generate.go, records.go). Local
// registries count the bytes that are read and written (place.go). The benchmark runs each subject
// several times, in turn, as separate processes (subjects.go, rebuilt.go, services.go, database.go,
// pipeline.go, trivy.go, process.go). It computes medians and ratios (figures.go), and writes them
// as tables, a plot and a page (markdown.go, everyday.go, plot.go, page.go).
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
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	var o options
	flag.StringVar(&o.images, "image", "big,java,python-node,small", "measure with these `IMAGES`, separated by commas")
	flag.StringVar(&o.only, "only", "", "measure only subjects whose name contains one of these `WORDS`, separated by commas")
	flag.BoolVar(&o.short, "short", false, "omit the subjects that take minutes: many services, and the large database")
	flag.IntVar(&o.rounds, "n", 5, "run everything `N` times and take the medians")
	flag.StringVar(&o.bin, "bin", "bin/bench", "the `FOLDER` with imagegate, syft, grype, crane, cosign and trivy")
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
	images, only, bin, work, from string
	json, table, page             string
	rounds                        int
	short                         bool
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

func (o options) measure(ctx context.Context) (_ *Results, err error) {
	if o.rounds < 1 {
		return nil, errors.New("-n must be at least 1")
	}
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return nil, err
	}
	if o.work, err = filepath.Abs(o.work); err != nil {
		return nil, err
	}
	results := &Results{Rounds: o.rounds, Machine: thisMachine()}
	if results.Programs, err = programs(o.bin); err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(o.images, ",") {
		r, ok := recipes[name]
		if !ok {
			return nil, fmt.Errorf("unknown image %q: must be one of %q", name, slices.Sorted(maps.Keys(recipes)))
		}
		r.name = name
		subjects := o.subjects(name)
		if len(subjects) == 0 {
			continue
		}
		result, err := o.measureImage(ctx, r, subjects)
		if err != nil {
			return nil, fmt.Errorf("measuring with the %s image: %w", name, err)
		}
		results.Images = append(results.Images, *result)
	}
	if len(results.Images) == 0 {
		return nil, fmt.Errorf("no subject of the images has a name that contains one of %q", o.only)
	}
	return results, nil
}

func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
