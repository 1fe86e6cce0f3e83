package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AddExceptions adds the exceptions of a file of their own, so that who grants
// them need not be who writes the policy. file is its name in positions; nothing
// is opened. The format is as strict as that of a policy, of which it is a part:
//
//	version: 1
//	exceptions:
//	  - id: CVE-2024-0001
//	    reason: only the tests use it
//	    owner: team-a
//	    expires: 2026-12-31
//
// The file enters Files and Digest, even one without exceptions. A file of the
// same name twice, or more than 10,000 exceptions in all, is an error. All errors
// of data are one *ParseError, and p is as it was with any.
func (p *Policy) AddExceptions(file string, data []byte) error {
	if p == nil {
		return errors.New("adding exceptions: there is no policy")
	}
	d := &decoder{file: file}
	var added []Exception
	if root := d.document(data); root != nil {
		d.mapping(root, "the file",
			mandatory("version", d.version()),
			mandatory("exceptions", d.exceptions(&added)),
		)
		switch {
		case file == p.File || slices.ContainsFunc(p.Files, func(f File) bool { return f.Name == file }):
			d.problem(root, "the file is part of the policy already")
		case len(p.Exceptions)+len(added) > maxItems:
			d.problem(root, "the policy has more than %d exceptions with those of this file", maxItems)
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

// combined returns the digest of a policy of several files.
func combined(files []File) string {
	var lines strings.Builder
	for _, f := range files {
		fmt.Fprintln(&lines, f.Digest)
	}
	return digest([]byte(lines.String()))
}

// Validate says what of a policy is wrong at now, though it was well written:
// exceptions that end later than the policy's maxLifetime from now. The error is
// a *ParseError. Evaluate does not apply such an exception and denies; that is a
// denial for an error in the policy, so taking the exception away can turn it
// into a pass.
func (p *Policy) Validate(now time.Time) error {
	if p == nil {
		return errors.New("no policy: nothing passes without one")
	}
	d := &decoder{}
	for _, list := range p.exceptionLists() {
		for i := range list {
			if e := &list[i]; p.tooLong(e, now) {
				d.problemAt(e.Position, "the exception for %s ends on %s, which is more than %s ahead",
					e.subject(), formatTime(e.Expires), formatDuration(p.ExceptionsMaxLifetime))
			}
		}
	}
	return d.err()
}

// exceptionLists returns those for all images, then those of every scope.
func (p *Policy) exceptionLists() [][]Exception {
	lists := [][]Exception{p.Exceptions}
	for i := range p.Images {
		lists = append(lists, p.Images[i].Policy.Exceptions)
	}
	return lists
}

// tooLong reports whether e ends later than the policy allows.
func (p *Policy) tooLong(e *Exception, now time.Time) bool {
	return p.ExceptionsMaxLifetime > 0 && e.Expires.After(now.Add(p.ExceptionsMaxLifetime))
}
