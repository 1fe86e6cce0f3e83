// Package remedy finds ways to fix a denial: the version that fixes all findings of a package, the
// command that upgrades packages, and an exception for the policy.
//
// Commands and exceptions are meant to be pasted. A name from the image is part of a command only
// if it has no special meaning in a shell, and part of an exception only if the policy language
// accepts it. The caller must sanitize the texts before printing.
package remedy

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/imagegate/imagegate/internal/names"
	"github.com/imagegate/imagegate/policy"
	"github.com/imagegate/imagegate/policy/evidence"
)

// Instruction says what to do. If Paste is set, Text is a line to paste, and must not be wrapped.
type Instruction struct {
	Text  string
	Paste bool
}

func paste(format string, args ...any) Instruction {
	return Instruction{fmt.Sprintf(format, args...), true}
}
func say(format string, args ...any) Instruction {
	return Instruction{Text: fmt.Sprintf(format, args...)}
}

// Advisor finds the remedies for the violations of one image.
type Advisor struct {
	// At is the time of the decision. The lifetime of a suggested exception starts at this time. If
	// At is zero, the advisor suggests no exceptions.
	At time.Time
	// MaxLifetime is the longest duration of an exception that the policy allows. Zero means no
	// limit.
	MaxLifetime time.Duration
	// PolicyFile is the name of the policy file that instructions mention.
	PolicyFile string
	// Input is the evidence about the image.
	Input *evidence.Input
	// Upgrade returns the instruction to upgrade the package of a finding that has a fix.
	Upgrade func(*evidence.Finding) Instruction
}

// expires returns the end of a suggested exception, or "" if At is zero.
func (a *Advisor) expires() string {
	if a.At.IsZero() {
		return ""
	}
	return expiry(a.At, a.MaxLifetime)
}

// Do returns how to fix a violation without an exception.
func (a *Advisor) Do(v *policy.Violation) Instruction {
	if v.Unevaluated {
		return say("correct the rule %s (%s): it could not be evaluated", name(v.Rule), where(v.Position))
	}
	switch v.Kind {
	case policy.KindVulnerability:
		return a.vulnerability(v.Finding)
	case policy.KindDatabase:
		return databaseRemedy(v.Rule)
	case policy.KindDistribution:
		return distributionRemedy(v.Rule)
	case policy.KindCoverage:
		if v.Unmatched == nil {
			return say("%s", unmatchedRemedy(""))
		}
		return say("%s", unmatchedRemedy(v.Unmatched.Reason))
	case policy.KindSBOM:
		return sbomRemedy(v)
	case policy.KindPackage:
		return packageRemedy(v.Package)
	case policy.KindLicense:
		return licenseRemedy(v.Package)
	case policy.KindImage:
		if v.Rule == policy.RuleLazyIndexes {
			return say("promote one platform with --platform: that does not copy the manifest")
		}
		return a.image(v.Check)
	case policy.KindProvenance:
		return a.provenance(v.Check)
	case policy.KindCustom:
		return say("change the image as the rule requires")
	case policy.KindScope:
		return paste(`add to the list "images" in %s: - {match: %s, exceptions: []}`, name(a.PolicyFile), yamlText(a.Input.Image.Repository))
	case policy.KindException:
		return paste("set in %s: expires: %s", where(v.Position), cmp.Or(a.expires(), "an earlier date"))
	case policy.KindEvidence:
		if image := a.Input.Image.Reference; IsShellWord(image) {
			return paste("imagegate check %s", image)
		}
	}
	return say("add the missing evidence, then check again")
}

func (a *Advisor) vulnerability(f *evidence.Finding) Instruction {
	switch {
	case f == nil:
		return say("check again: the report lacks the finding")
	case f.FixState != evidence.FixAvailable || len(f.Fixes) == 0 || a.Upgrade == nil:
		return say("no fixed version exists: remove %s from the image", name(f.Package.Name))
	}
	return a.Upgrade(f)
}

func databaseRemedy(rule string) Instruction {
	if rule == "database.origins" {
		return say("run \"imagegate db update --url URL\" with a mirror from the list database.origins in the policy")
	}
	return paste("imagegate db update")
}

func distributionRemedy(rule string) Instruction {
	if rule == "distribution.allow" {
		return say("change FROM in the Dockerfile to a distribution that the policy allows, and build again with: docker build --pull .")
	}
	return say("change FROM in the Dockerfile to a release that its vendor still supports, and build again with: docker build --pull .")
}

func unmatchedRemedy(reason evidence.UnmatchedReason) string {
	switch reason {
	case evidence.NoDistribution:
		return "keep /etc/os-release in the image: without it no system package can be matched"
	case evidence.DistributionNotInDatabase:
		return "rebuild the image on a distribution and release that the database covers"
	case evidence.TypeNotInDatabase:
		return "run \"imagegate db update\": the database has no advisories for that type of package; or remove the packages"
	case evidence.VersionUnknown:
		return "build the package with a version, or remove it"
	case evidence.VersionNotComparable:
		return "give the package a version that follows the scheme of its ecosystem, or remove it"
	case evidence.MainModule:
		return "build the program from a released version"
	case evidence.FirstParty:
		return "give the application's own package a version, or set notCovered: {firstParty: warn} in the policy"
	case evidence.NothingCataloged:
		return "keep the package metadata in the image: without it nothing can be matched"
	}
	return "remove the unmatched package, or use a database that covers it"
}

func sbomRemedy(v *policy.Violation) Instruction {
	if v.Unknown == nil {
		return say("check that this is the right image, and that it contains its package metadata")
	}
	return say("repair or remove %s: its content is not in the SBOM", name(v.Unknown.Path))
}

// packageRemedy returns the instruction for a package that is denied or outdated. If a required
// package is missing, p is nil.
func packageRemedy(p *evidence.Package) Instruction {
	if p == nil {
		return say("add the package that the rule requires to the image")
	}
	if command := Removal(*p); command != "" {
		return paste("%s", command)
	}
	return say("remove %s from the image, or replace it with a version that the rule accepts", name(p.Name))
}

func licenseRemedy(p *evidence.Package) Instruction {
	if p == nil {
		return say("replace the package with one under another license")
	}
	return say("replace %s with a package under another license", name(p.Name))
}

// image returns the instruction for satisfying a policy rule about the image. check is the name of
// the rule.
func (a *Advisor) image(check string) Instruction {
	switch check {
	case "notRoot":
		return paste("USER 65532:65532")
	case "noSecrets":
		return say("revoke the credential, create a new one, and pass the new one to the build with RUN --mount=type=secret")
	case "labels":
		return paste("docker build --label NAME=VALUE .")
	case "ports":
		return say("remove the port's EXPOSE line from the Dockerfile")
	case "maxAge":
		return paste("docker build --pull --no-cache .")
	case "maxSize":
		return say("make the image smaller: use a multi-stage build, and copy only the program with COPY --from")
	case "maxLayers":
		return say("combine RUN lines in the Dockerfile to get fewer layers")
	case "base":
		return say("change FROM in the Dockerfile to a base image that the policy allows")
	case "notLatest":
		return say("use a specific tag instead of latest")
	}
	return say("change how the image is built")
}

func (a *Advisor) provenance(check string) Instruction {
	image := Pinned(a.Input.Image)
	switch {
	case !IsShellWord(image):
		return say("sign the image in the staging registry when it is built")
	case check == string(policy.ProvenanceSignature):
		return paste("cosign sign --key cosign.key %s", image)
	}
	return paste("cosign attest --type slsaprovenance1 --predicate provenance.json --key cosign.key %s", image)
}

// Pinned returns the reference of an image by its digest. It names the registry as the user wrote
// it: the canonical name "localhost:5000" can lead to another address than "127.0.0.1:5000".
func Pinned(image evidence.Image) string {
	repository := image.Repository
	written := strings.TrimPrefix(image.Reference, "docker://")
	if written != "" && !names.IsLocal(written) {
		repository, _, _ = strings.Cut(written, "@")
		if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
			repository = repository[:i]
		}
	}
	return repository + "@" + image.Digest
}

func where(p policy.Position) string {
	if p.Line == 0 {
		return cmp.Or(p.File, "built in")
	}
	return fmt.Sprintf("%s:%d", name(p.File), p.Line)
}

// maxName is the maximum length of a name from the image in an instruction, in runes.
const maxName = 200

// name shortens a name from the image. It returns a placeholder for a blank name.
func name(s string) string {
	if strings.TrimSpace(s) == "" {
		return "(none)"
	}
	if utf8.RuneCountInString(s) <= maxName {
		return s
	}
	return string([]rune(s)[:maxName-3]) + "..."
}
