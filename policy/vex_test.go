package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imagegate/imagegate/internal/clock"
	"github.com/imagegate/imagegate/policy/evidence"
)

var (
	imageDigest    = cleanInput().Image.Digest
	platformDigest = cleanInput().Platforms[0].Digest
)

// lodash returns the finding that the VEX statements in these tests are about.
func lodash() evidence.Finding {
	f := finding("GHSA-1", evidence.SeverityHigh)
	f.Aliases = []string{"CVE-1"}
	return f
}

// statementFor returns a VEX statement that lodash is not affected in a product.
func statementFor(product string, subcomponents ...string) evidence.VEXStatement {
	return evidence.VEXStatement{
		ID: "CVE-1", Status: evidence.VEXNotAffected, Products: []string{product}, Subcomponents: subcomponents,
		Justification: "component_not_present", Timestamp: now.Add(-ruleDay), Document: "d",
	}
}

// takesAway reports whether the VEX statements remove the finding of lodash, under a policy that
// accepts statements from files and from one signer.
func takesAway(t *testing.T, statements ...evidence.VEXStatement) bool {
	t.Helper()
	p := blockAll()
	p.Signers = []SignerRule{{Name: "ours", Issuer: "https://login.example", Subject: "*@example.com"}}
	p.VEX = VEXRule{Accept: []evidence.VEXStatus{evidence.VEXNotAffected, evidence.VEXFixed}, Files: true, Signers: []string{"ours"}}
	return takenAwayBy(t, p, statements...)
}

func takenAwayBy(t *testing.T, p *Policy, statements ...evidence.VEXStatement) bool {
	t.Helper()
	in := withFindings(lodash())
	in.VEX = statements
	d := p.Evaluate(in, now)
	if d.Passed != (len(d.NotAffected) == 1) || len(d.NotAffected)+len(d.Violations) != 1 {
		t.Errorf("%+v", d)
	}
	return d.Passed
}

func TestStatementsAreAboutTheirProducts(t *testing.T) {
	oci := "pkg:oci/app@" + strings.Replace(imageDigest, ":", "%3A", 1) + "?repository_url=registry.example/team/app"
	for name, tt := range map[string]struct {
		s    evidence.VEXStatement
		want bool
	}{
		"package":                  {statementFor("pkg:npm/lodash@4.17.20"), true},
		"any version":              {statementFor("pkg:npm/lodash"), true},
		"another version":          {statementFor("pkg:npm/lodash@4.17.2"), false},
		"another package":          {statementFor("pkg:npm/loda"), false},
		"another type":             {statementFor("pkg:deb/lodash"), false},
		"star":                     {statementFor("pkg:npm/*"), false},
		"star as version":          {statementFor("pkg:npm/lodash@*"), false},
		"qualifier not there":      {statementFor("pkg:npm/lodash?arch=amd64"), false},
		"package in a package":     {statementFor("pkg:npm/lodash", "pkg:npm/lodash"), false},
		"no product":               {evidence.VEXStatement{ID: "CVE-1", Status: evidence.VEXNotAffected}, false},
		"empty product":            {statementFor(""), false},
		"package in image":         {statementFor(imageDigest, "pkg:npm/lodash"), true},
		"package in platform":      {statementFor(platformDigest, "pkg:npm/lodash@4.17.20"), true},
		"one of two subcomponents": {statementFor(imageDigest, "pkg:npm/x", "pkg:npm/lodash"), true},
		"another subcomponent":     {statementFor(imageDigest, "pkg:npm/x"), false},
		"star as subcomponent":     {statementFor(imageDigest, "pkg:npm/*"), false},
		"image alone":              {statementFor(imageDigest), false},
		"another image":            {statementFor("sha256:"+strings.Repeat("f", 64), "pkg:npm/lodash"), false},
		"oci purl":                 {statementFor(oci, "pkg:npm/lodash"), true},
		"oci purl alone":           {statementFor(oci), false},
		"oci purl without digest":  {statementFor("pkg:oci/app", "pkg:npm/lodash"), false},
		"repository":               {statementFor("registry.example/team/app", "pkg:npm/lodash"), false},
	} {
		if got := takesAway(t, tt.s); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}

	in := withFindings(lodash())
	in.Image.Digest = ""
	in.VEX = []evidence.VEXStatement{statementFor("", "pkg:npm/lodash"), statementFor("pkg:oci/app", "pkg:npm/lodash")}
	p := blockAll()
	p.VEX = VEXRule{Accept: []evidence.VEXStatus{evidence.VEXNotAffected}, Files: true}
	if d := p.Evaluate(in, now); len(d.NotAffected) != 0 {
		t.Errorf("a statement applies to an image without a digest: %+v", d.NotAffected)
	}
}

func TestStatementsAreAboutTheirVulnerability(t *testing.T) {
	for id, want := range map[string]bool{"CVE-1": true, "cve-1": true, "GHSA-1": true, "CVE-11": false, "": false} {
		s := statementFor("pkg:npm/lodash")
		s.ID = id
		if got := takesAway(t, s); got != want {
			t.Errorf("%q: %v", id, got)
		}
		s.ID, s.Aliases = "X", []string{id}
		if got := takesAway(t, s); got != want {
			t.Errorf("alias %q: %v", id, got)
		}
	}
}

func TestAffectedStatementSuppressesNothing(t *testing.T) {
	for status, want := range map[evidence.VEXStatus]bool{
		evidence.VEXNotAffected: true, evidence.VEXFixed: true, evidence.VEXAffected: false, evidence.VEXUnderInvestigation: false, "": false, "NOT_AFFECTED": false,
	} {
		s := statementFor("pkg:npm/lodash")
		s.Status = status
		if got := takesAway(t, s); got != want {
			t.Errorf("%q: %v", status, got)
		}
		p := blockAll()
		p.VEX = VEXRule{Accept: []evidence.VEXStatus{evidence.VEXAffected, evidence.VEXUnderInvestigation, "", "NOT_AFFECTED"}, Files: true}
		if takenAwayBy(t, p, s) {
			t.Errorf("%q removes a finding although no policy can accept it", status)
		}
	}
}

// TestUnsignedStatementDoesNotCount checks that unsigned statements from the registry do not count.
// Otherwise anyone who can push to the image's repository could remove its findings.
func TestUnsignedStatementDoesNotCount(t *testing.T) {
	accept := []evidence.VEXStatus{evidence.VEXNotAffected}
	a := &evidence.Signer{Issuer: "https://login.example", Subject: "a@example.com"}
	for name, tt := range map[string]struct {
		rule   VEXRule
		signer *evidence.Signer
		want   bool
	}{
		"no section":             {VEXRule{}, nil, false},
		"no section, signed":     {VEXRule{}, a, false},
		"nothing accepted":       {VEXRule{Files: true, Signers: []string{"anyone"}}, nil, false},
		"another status":         {VEXRule{Accept: []evidence.VEXStatus{evidence.VEXFixed}, Files: true}, nil, false},
		"neither":                {VEXRule{Accept: accept}, nil, false},
		"unsigned":               {VEXRule{Accept: accept, Signers: []string{"anyone"}}, nil, false},
		"file":                   {VEXRule{Accept: accept, Files: true}, nil, true},
		"signed and files only":  {VEXRule{Accept: accept, Files: true}, a, false},
		"signed by another":      {VEXRule{Accept: accept, Signers: []string{"b"}}, a, false},
		"signed":                 {VEXRule{Accept: accept, Signers: []string{"b", "a"}}, a, true},
		"by a name that is none": {VEXRule{Accept: accept, Signers: []string{"c"}}, a, false},
		"by nobody":              {VEXRule{Accept: accept, Signers: []string{"anyone"}}, &evidence.Signer{}, false},
		"key":                    {VEXRule{Accept: accept, Signers: []string{"key"}}, &evidence.Signer{Key: testFingerprint}, true},
		"another key":            {VEXRule{Accept: accept, Signers: []string{"key"}}, &evidence.Signer{Key: "sha256:00"}, false},
		"key for an identity":    {VEXRule{Accept: accept, Signers: []string{"anyone"}}, &evidence.Signer{Key: testFingerprint}, false},
		"identity for a key":     {VEXRule{Accept: accept, Signers: []string{"key"}}, a, false},
	} {
		p := blockAll()
		p.Signers = []SignerRule{{Name: "a", Issuer: "https://login.example", Subject: "a@*"}, {Name: "b", Issuer: "*", Subject: "b@*"},
			{Name: "anyone", Issuer: "*", Subject: "*"}, {Name: "key", Key: testKey}}
		p.VEX = tt.rule
		s := statementFor("pkg:npm/lodash")
		s.Signer = tt.signer
		if got := takenAwayBy(t, p, s); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestJustifications(t *testing.T) {
	p := blockAll()
	p.VEX = VEXRule{Accept: []evidence.VEXStatus{evidence.VEXNotAffected, evidence.VEXFixed}, Files: true, Justifications: []string{"inline_mitigations_already_exist"}}
	s := statementFor("pkg:npm/lodash")
	for justification, want := range map[string]bool{"inline_mitigations_already_exist": true, "component_not_present": false, "": false} {
		s.Justification = justification
		if got := takenAwayBy(t, p, s); got != want {
			t.Errorf("%q: %v", justification, got)
		}
	}
	s.Status = evidence.VEXFixed // the status "fixed" needs no justification
	if !takenAwayBy(t, p, s) {
		t.Error("fixed has no justification")
	}
}

func TestLatestStatementCounts(t *testing.T) {
	at := func(hours int, status evidence.VEXStatus, product string, subcomponents ...string) evidence.VEXStatement {
		s := statementFor(product, subcomponents...)
		s.Status, s.Timestamp = status, now.Add(time.Duration(hours)*time.Hour)
		return s
	}
	undated := at(0, evidence.VEXAffected, "pkg:npm/lodash")
	undated.Timestamp = time.Time{}
	aliased := at(-1, evidence.VEXAffected, "pkg:npm/lodash")
	aliased.ID = "GHSA-1"
	foreign := at(-1, evidence.VEXAffected, "pkg:npm/lodash")
	foreign.Signer = &evidence.Signer{Issuer: "https://login.example", Subject: "someone"}
	oci := "pkg:oci/app@" + imageDigest
	const lodash, exact = "pkg:npm/lodash", "pkg:npm/lodash@4.17.20"
	for name, tt := range map[string]struct {
		statements []evidence.VEXStatement
		want       bool
	}{
		"affected later":           {[]evidence.VEXStatement{at(-2, evidence.VEXNotAffected, lodash), at(-1, evidence.VEXAffected, lodash)}, false},
		"affected before":          {[]evidence.VEXStatement{at(-2, evidence.VEXAffected, lodash), at(-1, evidence.VEXNotAffected, lodash)}, true},
		"at the same time":         {[]evidence.VEXStatement{at(-1, evidence.VEXNotAffected, lodash), at(-1, evidence.VEXAffected, lodash)}, false},
		"affected without date":    {[]evidence.VEXStatement{undated, at(-1, evidence.VEXNotAffected, lodash)}, false},
		"affected by alias":        {[]evidence.VEXStatement{at(-2, evidence.VEXNotAffected, lodash), aliased}, false},
		"affected, says a foreign": {[]evidence.VEXStatement{at(-2, evidence.VEXNotAffected, lodash), foreign}, true},
		"products disagree":        {[]evidence.VEXStatement{at(-2, evidence.VEXAffected, lodash), at(-1, evidence.VEXNotAffected, exact)}, false},
		"products agree":           {[]evidence.VEXStatement{at(-2, evidence.VEXFixed, lodash), at(-1, evidence.VEXNotAffected, exact)}, true},
		"image and package":        {[]evidence.VEXStatement{at(-2, evidence.VEXUnderInvestigation, imageDigest), at(-1, evidence.VEXNotAffected, lodash)}, false},
		"image, then its package":  {[]evidence.VEXStatement{at(-2, evidence.VEXUnderInvestigation, imageDigest), at(-1, evidence.VEXNotAffected, oci, lodash)}, true},
		"package, then its image":  {[]evidence.VEXStatement{at(-2, evidence.VEXNotAffected, imageDigest, exact), at(-1, evidence.VEXAffected, oci)}, false},
		"another package of image": {[]evidence.VEXStatement{at(-2, evidence.VEXNotAffected, imageDigest, exact), at(-1, evidence.VEXAffected, oci, "pkg:npm/x")}, true},
	} {
		for range 2 {
			if got := takesAway(t, tt.statements...); got != tt.want {
				t.Errorf("%s: %v", name, got)
			}
			slices.Reverse(tt.statements)
		}
	}
}

func TestStatementFromTheFutureTakesNothingAway(t *testing.T) {
	p := blockAll()
	p.VEX = VEXRule{Accept: []evidence.VEXStatus{evidence.VEXNotAffected}, Files: true}
	in := withFindings(lodash())
	s := statementFor("pkg:npm/lodash")
	s.Timestamp = now.Add(clock.Skew + time.Hour)
	in.VEX = []evidence.VEXStatement{s}
	d := p.Evaluate(in, now)
	denied(t, d, "vulnerability all")
	if want := now.Add(time.Hour); !d.Until.Equal(want) {
		t.Errorf("until %v, want %v", d.Until, want)
	}
	passed(t, p.Evaluate(in, now.Add(time.Hour)))
	before := s
	before.Timestamp = now
	affected := s
	affected.Status = evidence.VEXAffected
	if takesAway(t, before, affected) {
		t.Error("a statement that keeps the finding does not count before its date")
	}
}

func TestNotAffected(t *testing.T) {
	p := blockBy(Rule{Grace: 30 * ruleDay})
	p.VEX = VEXRule{Accept: []evidence.VEXStatus{evidence.VEXNotAffected}, Files: true}
	f := graced(now.Add(-ruleDay))
	in := withFeeds(f)
	in.VEX = []evidence.VEXStatement{statementFor("pkg:npm/lodash")}
	d := p.Evaluate(in, now)
	want := []NotAffected{{
		Violation: Violation{
			Kind: KindVulnerability, Rule: "rule", Platform: "linux/amd64", Finding: &f,
			Message: "CVE-1 in lodash 4.17.20: severity high, fixed in 3, 2, 4",
		},
		Statement: in.VEX[0],
	}}
	if diff := cmp.Diff(want, d.NotAffected); diff != "" {
		t.Error(diff)
	}

	// If no rule matches the finding, the finding is allowed. The decision does not list it as
	// removed.
	p.Rules[0].IDs = []string{"CVE-2"}
	if d := p.Evaluate(in, now); len(d.Allowed) != 1 || len(d.NotAffected) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestParseVEX(t *testing.T) {
	p := parsed(t, minimal+`vex:
  accept: [not_affected, fixed]
  justifications: [component_not_present]
  files: true
  signers: [ours]
signers: [{name: ours, issuer: https://login.example, subject: "*@example.com"}]
`)
	want := VEXRule{
		Position: at(4, 1), Accept: []evidence.VEXStatus{evidence.VEXNotAffected, evidence.VEXFixed}, Justifications: []string{"component_not_present"},
		Files: true, Signers: []string{"ours"},
	}
	if diff := cmp.Diff(want, p.VEX); diff != "" {
		t.Error(diff)
	}
	for section, want := range map[string]string{
		"{accept: []}":                `4:15: "accept" is empty: omit the section to accept nothing`,
		"{accept: [affected]}":        `4:16: "accept": "affected" does not remove findings: expected not_affected or fixed`,
		"{accept: fixed}":             `4:15: "accept" is text: expected a list`,
		"{justifications: [because]}": `4:24: "justifications": unknown justification "because": expected one of ` + strings.Join(vexJustifications, ", "),
		"{files: false}":              `4:14: "files": "false" can only be true: omit the key instead`,
		"{signers: [nobody]}":         `4:1: "nobody" is not one of the policy's signers`,
		"{signers: []}":               `4:16: "signers" is empty: omit the key to accept none`,
	} {
		if diff := cmp.Diff([]string{"p.yaml:" + want}, problems(t, minimal+"vex: "+section+"\n")); diff != "" {
			t.Errorf("%s: %s", section, diff)
		}
	}
}
