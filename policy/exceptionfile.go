package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imagegate/imagegate/internal/strict"
	"github.com/imagegate/imagegate/policy/internal/wording"
)

// AddExceptions adds the exceptions of a separate file, so that different people can own the policy
// and its exceptions. file is the name for positions; the file is not opened. The format is as
// strict as the format of a policy:
//
//	version: 1
//	exceptions:
//	  - id: CVE-2024-0001
//	    reason: only the tests use it
//	    owner: team-a
//	    expires: 2026-12-31
//
// The file is added to Files and changes Digest, even if it has no exceptions. Adding a file name
// twice is an error, and so are more than 10,000 exceptions in total. All errors in the data are
// returned as one *ParseError. On any error, p is unchanged.
func (p *Policy) AddExceptions(file string, data []byte) error {
	if p == nil {
		return errors.New("adding exceptions: no policy given")
	}
	d := newDecoder(file, "")
	var added []Exception
	if root := d.Document(data); root != nil {
		d.Mapping(root, "the file",
			strict.Mandatory("version", d.Version(formatVersion)),
			strict.Mandatory("exceptions", d.exceptions(&added)),
		)
		switch {
		case file == p.File || slices.ContainsFunc(p.Files, func(f File) bool { return f.Name == file }):
			d.Problem(root, "the file is already part of the policy")
		case len(p.Exceptions)+len(added) > strict.MaxItems:
			d.Problem(root, "the policy and this file have more than %d exceptions in total", strict.MaxItems)
		}
	}
	if err := d.err(); err != nil {
		return err
	}
	if len(p.Files) == 0 {
		p.Files = []File{{Name: p.File, Digest: p.Digest}}
	}
	p.Files = append(slices.Clip(p.Files), File{Name: file, Digest: digest(data)})
	p.Exceptions = append(slices.Clip(p.Exceptions), added...)
	p.Digest = combined(p.Files)
	return nil
}

// combined returns the digest of a policy that consists of several files: the SHA-256 of the
// digests of the files, one on each line.
func combined(files []File) string {
	var lines strings.Builder
	for _, f := range files {
		fmt.Fprintln(&lines, f.Digest)
	}
	return digest([]byte(lines.String()))
}

// Validate reports errors in a policy that depend on the time now: exceptions that expire later
// than maxLifetime allows. The error is a *ParseError. Evaluate ignores such an exception and
// denies the image because of it. So removing the exception can turn a denial into a pass, in this
// case only.
func (p *Policy) Validate(now time.Time) error {
	if p == nil {
		return errors.New("no policy: no image can pass")
	}
	d := newDecoder("", "")
	for _, list := range p.exceptionLists() {
		for i := range list {
			if e := &list[i]; p.tooLong(e, now) {
				d.problemAt(e.Position, "the exception for %s expires on %s, more than %s ahead of now",
					e.Subject(), wording.Time(e.Expires), wording.Duration(p.ExceptionsMaxLifetime))
			}
		}
	}
	return d.err()
}

// exceptionLists returns the policy's own exceptions, then the exceptions of each scope.
func (p *Policy) exceptionLists() [][]Exception {
	lists := [][]Exception{p.Exceptions}
	for i := range p.Images {
		lists = append(lists, p.Images[i].Policy.Exceptions)
	}
	return lists
}

// tooLong reports whether e expires later than maxLifetime allows.
func (p *Policy) tooLong(e *Exception, now time.Time) bool {
	return p.ExceptionsMaxLifetime > 0 && e.Expires.After(now.Add(p.ExceptionsMaxLifetime))
}
