// Command demo shows imagegate on one machine. It starts a staging and an approved registry, builds
// a vulnerability database from records, and pushes a vulnerable image. imagegate denies this image,
// and the approved registry stays empty. Then the demo pushes the fixed image, which imagegate
// promotes and verifies.
//
// The components are real: the registries are the distribution registry, the records come from
// upstream feeds, and each step is an ordinary command line. "make demo" runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/imagegate/imagegate/internal/lab"
)

func main() {
	var d demo
	flag.StringVar(&d.imagegate, "imagegate", "imagegate", "run the imagegate `binary`")
	flag.StringVar(&d.records, "records", "examples/records", "build the database from the provider records in `folder`")
	flag.StringVar(&d.policy, "policy", "examples/policies/demo.yaml", "evaluate the policy in `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	d.out = os.Stdout
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type demo struct {
	imagegate, records, policy string

	out               io.Writer
	dir               string
	staging, approved *lab.Registry
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "imagegate-demo-*"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	for _, r := range []**lab.Registry{&d.staging, &d.approved} {
		registry, err := lab.StartRegistry(lab.Options{})
		if err != nil {
			return err
		}
		defer registry.Close()
		*r = registry
	}

	d.say("Two registries are running: staging at %s, approved at %s.", d.staging.Host(), d.approved.Host())
	d.say("Build a database from the records in %s, and generate a key.", d.records)
	archive := filepath.Join(d.dir, "database.tar.gz")
	for _, args := range [][]string{
		{"db", "build", d.records, "--to", archive},
		{"db", "import", archive},
		{"key", "generate", filepath.Join(d.dir, "cosign")},
	} {
		if err := d.expect(ctx, 0, args...); err != nil {
			return err
		}
	}

	d.say("Promote a vulnerable image: imagegate denies it, and the approved registry receives no write.")
	source, target := d.staging.Host()+"/team/app:1.0", d.approved.Host()+"/team/app:1.0"
	if err := d.push(ctx, source, vulnerable); err != nil {
		return err
	}
	promote := []string{"promote", source, target, "--policy", d.policy, "--key", filepath.Join(d.dir, "cosign.key")}
	if err := d.expect(ctx, 2, promote...); err != nil {
		return err
	}
	if n := len(d.approved.Writes()); n != 0 {
		return fmt.Errorf("the approved registry received %d writes", n)
	}
	repositories, err := d.repositories(ctx)
	if err != nil {
		return err
	}
	if len(repositories) != 0 {
		return fmt.Errorf("the approved registry must be empty, but it contains repositories: %v", repositories)
	}
	d.say("The approved registry received 0 writes and has 0 repositories.")

	d.say("Promote the fixed image: it passes. imagegate copies, signs and attests it, and writes the tag last.")
	source, target = d.staging.Host()+"/team/app:1.1", d.approved.Host()+"/team/app:1.1"
	if err := d.push(ctx, source, fixed); err != nil {
		return err
	}
	promote[1], promote[2] = source, target
	if err := d.expect(ctx, 0, promote...); err != nil {
		return err
	}

	d.say("Anyone with the public key can later verify the pass, from the approved registry alone.")
	if err := d.expect(ctx, 0, "verify", target, "--key", filepath.Join(d.dir, "cosign.pub"), "--max-age", "1h"); err != nil {
		return err
	}
	return d.evidence(ctx)
}

// evidence prints the tags in the approved registry and the number of writes to it.
func (d *demo) evidence(ctx context.Context) error {
	repo, err := name.NewRepository(d.approved.Host() + "/team/app")
	if err != nil {
		return err
	}
	tags, err := remote.List(repo, remote.WithContext(ctx))
	if err != nil {
		return err
	}
	slices.Sort(tags)
	d.say("Tags in the approved registry, and the last write that it received:")
	for _, tag := range tags {
		fmt.Fprintf(d.out, "    %s:%s\n", repo, tag)
	}
	writes := d.approved.Writes()
	last := writes[len(writes)-1]
	fmt.Fprintf(d.out, "    %d writes, the last one is %s %s\n", len(writes), last.Method, last.Path)
	return nil
}

func (d *demo) repositories(ctx context.Context) ([]string, error) {
	registry, err := name.NewRegistry(d.approved.Host())
	if err != nil {
		return nil, err
	}
	return remote.Catalog(ctx, registry)
}

func (d *demo) push(ctx context.Context, ref string, build func() (v1.Image, error)) error {
	img, err := build()
	if err != nil {
		return err
	}
	_, err = lab.Push(ctx, ref, img)
	return err
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "\n== "+format+"\n", args...)
}

// expect runs imagegate and prints the command line and its output. It returns an error if the exit
// code is not want.
func (d *demo) expect(ctx context.Context, want int, args ...string) error {
	fmt.Fprintf(d.out, "$ imagegate %s\n", strings.ReplaceAll(strings.Join(args, " "), d.dir+"/", ""))
	cmd := exec.CommandContext(ctx, d.imagegate, args...)
	cmd.Stdout, cmd.Stderr = d.out, d.out
	cmd.Env = append(os.Environ(), "IMAGEGATE_CACHE_DIR="+filepath.Join(d.dir, "cache"), "IMAGEGATE_TEMP_DIR="+d.dir,
		"COSIGN_PASSWORD=demo", "IMAGEGATE_QUIET=true")
	err := cmd.Run()
	var exit *exec.ExitError
	code := 0
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		return err
	}
	fmt.Fprintf(d.out, "[exit code %d]\n", code)
	if code != want {
		return fmt.Errorf("imagegate %s exited with code %d, want %d", args[0], code, want)
	}
	return nil
}
