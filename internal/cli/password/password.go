// Package password reads the password of a signing key from the variable COSIGN_PASSWORD or from a
// prompt.
package password

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/imagegate/imagegate/internal/cli/exit"
)

// errNone is returned if an encrypted key needs a password and none is available.
var errNone = exit.WithHint(errors.New("the key is encrypted, and no password was given"), "set COSIGN_PASSWORD to the password of the key")

// errNoNew is returned if a new key needs a password and none is available.
var errNoNew = exit.WithHint(errors.New("no password for the new key was given, and standard input is not a terminal"), "set COSIGN_PASSWORD to a password for the new key")

// New returns the password for a new key: from COSIGN_PASSWORD, or from a prompt that asks twice.
func New(ctx context.Context, in io.Reader, w io.Writer) ([]byte, error) {
	first, err := Of(ctx, in, w, "Password for the new key: ")
	if errors.Is(err, errNone) {
		return nil, errNoNew
	}
	if _, set := os.LookupEnv(Variable); set || err != nil {
		return first, err
	}
	again, err := Of(ctx, in, w, "Password again: ")
	if err == nil && !bytes.Equal(first, again) {
		err = errors.New("the passwords differ")
	}
	return first, err
}

// Variable is the environment variable with the password of a signing key. The cosign command uses
// the same variable.
const Variable = "COSIGN_PASSWORD"

// Of returns the password of a key: from COSIGN_PASSWORD, or from a prompt on w if in is a terminal.
// Otherwise it returns an error with a hint.
func Of(ctx context.Context, in io.Reader, w io.Writer, prompt string) ([]byte, error) {
	if password, ok := os.LookupEnv(Variable); ok {
		return []byte(password), nil
	}
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, errNone
	}
	return ask(ctx, int(f.Fd()), w, prompt)
}

// ask reads a line without echo. If ctx is canceled, it restores the terminal and returns
// an error.
func ask(ctx context.Context, fd int, w io.Writer, prompt string) ([]byte, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type answer struct {
		password []byte
		err      error
	}
	fmt.Fprint(w, prompt)
	defer fmt.Fprintln(w)
	answered := make(chan answer, 1)
	go func() {
		password, err := term.ReadPassword(fd)
		answered <- answer{password, err}
	}()
	select {
	case a := <-answered:
		return a.password, a.err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}
