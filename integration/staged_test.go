package integration

import (
	"context"
	"encoding/json"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/imagegate/imagegate/internal/attach"
	"github.com/imagegate/imagegate/internal/trust"
)

// sign implements the script command "sign KEY REF": it signs the image that REF names, as its
// build would.
func sign(ts *testscript.TestScript, _ bool, args []string) {
	signer, ref, digest := signing(ts, args[0], args[1])
	signatures, err := trust.SignImage(context.Background(), signer, trust.Legacy, ref.Context(), digest)
	ts.Check(err)
	ts.Check(storeAs(context.Background(), signer.Trust(), trust.Legacy, ref.Context(), digest, attach.Attachments{Signatures: signatures}))
}

// attest implements the script command "attest KEY REF FORM TYPE FILE": it signs the predicate in
// FILE about the image that REF names. FORM is the signature format.
func attest(ts *testscript.TestScript, _ bool, args []string) {
	signer, ref, digest := signing(ts, args[0], args[1])
	form, err := trust.ParseFormat(args[2])
	ts.Check(err)
	envelope, err := trust.Attest(context.Background(), signer, trust.Both, trust.Statement{PredicateType: args[3],
		Predicate: json.RawMessage(ts.ReadFile(args[4])), Subjects: []trust.Subject{{Name: ref.Context().Name(), Digest: digest}}})
	ts.Check(err)
	ts.Check(storeAs(context.Background(), signer.Trust(), form, ref.Context(), digest, attach.Attachments{Envelopes: []trust.Envelope{envelope}}))
}

func signing(ts *testscript.TestScript, key, path string) (*trust.Signer, name.Reference, v1.Hash) {
	k, err := trust.LoadKey([]byte(ts.ReadFile(key)), func() ([]byte, error) { return []byte(ts.Getenv("COSIGN_PASSWORD")), nil })
	ts.Check(err)
	signer, err := trust.NewSigner(k, trust.Services{})
	ts.Check(err)
	ref, err := name.ParseReference(path)
	ts.Check(err)
	d, err := remote.Head(ref)
	ts.Check(err)
	return signer, ref, d.Digest
}

// embedKey implements the script command "embedkey FILE KEY": it replaces the word KEY in a file
// with a public key.
func embedKey(ts *testscript.TestScript, _ bool, args []string) {
	key := strings.ReplaceAll(strings.TrimSpace(ts.ReadFile(args[1])), "\n", "\n      ")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(ts.ReadFile(args[0]), "KEY", key, 1)), 0o600))
}

// storeAs stores attachments by a signer that own trusts.
func storeAs(ctx context.Context, own trust.Trust, f trust.Format, repo name.Repository, digest v1.Hash, a attach.Attachments) error {
	p, err := attach.Prepare(own, f, repo, digest, a, attach.Copies{}, attach.Options{})
	if err != nil {
		return err
	}
	return p.Store(ctx)
}
