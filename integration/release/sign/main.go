// Command sign signs a folder with release files for tests, as GitHub and the public Sigstore sign a
// release of imagegate, but with a private Sigstore:
//
//	go run ./integration/release/sign -tag v1.2.3 -sigstore DIR FOLDER
//
// FOLDER must contain checksums.txt. The command writes checksums.txt.sigstore.json and
// provenance.sigstore.json into FOLDER. DIR keeps the Sigstore between runs; the first run makes it.
// Verifiers need these parts of DIR:
//
//   - trusted_root.json: the trusted root, for --trusted-root
//   - tuf, tuf_root.json: a TUF repository with the trusted root, for --tuf-mirror and --tuf-root.
//     Any file server can serve the folder tuf.
//
// The other flags make releases that verifiers must refuse: by another repository, workflow or
// issuer, with an expired certificate, or over the bytes of another file. To combine a correct
// signature with wrong provenance, sign two folders and copy one of the files.
package main

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("sign", flag.ContinueOnError)
	var by workflowRun
	flags.StringVar(&by.Tag, "tag", "", "the `TAG` of the release, vX.Y.Z (required)")
	dir := flags.String("sigstore", "", "keep the private Sigstore in `DIR` (required)")
	flags.StringVar(&by.Repository, "repository", "https://github.com/imagegate/imagegate", "the `URL` of the repository with the workflow")
	flags.StringVar(&by.Workflow, "workflow", ".github/workflows/release.yml", "the `PATH` of the workflow in the repository")
	flags.StringVar(&by.Commit, "commit", "", "the `COMMIT` of the tag (default: a made-up one)")
	flags.StringVar(&by.Issuer, "issuer", "https://token.actions.githubusercontent.com", "the `URL` of the token issuer")
	flags.StringVar(&by.Source, "source", "", "the `URL` of the repository that is built (default: -repository)")
	flags.StringVar(&by.Identity, "identity", "", "the `SUBJECT` of the certificate (default: the workflow at the tag)")
	flags.BoolVar(&by.Expired, "expired", false, "log the signatures after the certificate expired")
	checksums := flags.String("checksums", "", "sign `FILE` instead of checksums.txt in the folder")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 || by.Tag == "" || *dir == "" {
		return errors.New("usage: sign -tag vX.Y.Z -sigstore DIR [FLAGS] FOLDER")
	}
	folder := flags.Arg(0)
	if *checksums == "" {
		*checksums = filepath.Join(folder, checksumsFile)
	}
	if by.Commit == "" {
		sum := sha1.Sum([]byte(by.Repository + by.Tag))
		by.Commit = hex.EncodeToString(sum[:])
	}
	return signFolder(folder, *dir, *checksums, by)
}

func signFolder(folder, dir, checksums string, by workflowRun) error {
	content, err := os.ReadFile(checksums)
	if err != nil {
		return err
	}
	private, err := open(dir)
	if err != nil {
		return fmt.Errorf("opening the Sigstore in %s: %w", dir, err)
	}
	bundle, provenance, err := private.sign(context.Background(), content, by)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{bundleFile: bundle, provenanceFile: provenance} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			return err
		}
	}
	return private.save(dir)
}
