package report

import "github.com/imagegate/imagegate/policy"

// AllCautions returns all warnings that qualify the verdict: Cautions, a nearly empty database,
// severe findings that no rule matches, and a reference that has moved. Each is a sentence without
// a full stop and without markup, safe to print on one line.
func (r Report) AllCautions() []string {
	var all []string
	if few := fewAdvisories(r.Input.Database.Advisories); few != "" {
		all = append(all, "the database has few advisories for this image, so a short list of findings means little: "+few)
	}
	if r.Decision != nil {
		if severe := severeUnmatched(*r.Decision); severe != "" {
			all = append(all, severe)
		}
	}
	if r.MovedTo != "" {
		all = append(all, "the tag now points to "+short(r.MovedTo)+": it moved during the run, and that image was not evaluated")
	}
	for _, c := range r.Cautions {
		all = append(all, Sanitize(c))
	}
	return all
}

// AllowedItems returns the findings that no rule matched, merged over platforms and paths like
// Items. Items does not contain them, and their Status has no meaning.
func (r Report) AllowedItems() []Item {
	if r.Decision == nil {
		return nil
	}
	var j joiner
	for i := range r.Decision.Allowed {
		a := &r.Decision.Allowed[i]
		j.add(policy.Violation{Kind: policy.KindVulnerability, Platform: a.Platform, Finding: &a.Finding}, "")
	}
	return j.items
}
