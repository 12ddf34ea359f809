// Print what matters of package.json as words: script:NAME, dev, workspaces, links (to what can change unseen). On a mistake say which, and end with 1.
'use strict';
const fs = require('fs');

function die(message) {
  console.log(message);
  process.exit(1);
}

// A version or the begin of one as numbers; x, X, * and what is missing are null.
function parts(text) {
  const match = /^[v=\s]*(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:[-+].*)?$/.exec(text);
  return match && match.slice(1).map((p) => (p === undefined || /[xX*]/.test(p) ? null : Number(p)));
}

function compare(a, b) {
  for (let i = 0; i < 3; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}

// The first version above all that begin with the same `count` numbers.
function above(version, count) {
  const next = version.map((p, i) => (i < count ? p || 0 : 0));
  next[count - 1] += 1;
  return next;
}

// One comparator as [lowest, first one that is too high]; undefined when it is not understood.
function bounds(operator, text) {
  const version = parts(text);
  if (!version) return undefined;
  const given = version.indexOf(null) < 0 ? 3 : version.indexOf(null);
  const low = version.map((p, i) => (i < given ? p : 0));
  const none = [0, 0, 0], all = [Infinity, 0, 0];
  const end = given === 0 ? all : given === 3 ? [low[0], low[1], low[2] + 1] : above(low, given);
  if (given === 0) return operator === '<' || operator === '>' ? [all, none] : [none, all];
  switch (operator) {
    case '>=': return [low, all];
    case '>': return [end, all];
    case '<': return [none, low];
    case '<=': return [none, end];
    case '~': case '~>': return [low, above(low, Math.min(given, 2))];
    case '^': {
      const first = low.findIndex((p, i) => p > 0 || i === given - 1);
      return [low, above(low, first + 1)];
    }
    default: return [low, end];
  }
}

// Whether the version is in the range; undefined when the range is not understood.
function satisfies(version, range) {
  const have = parts(version);
  let fits = false;
  for (let part of range.split('||')) {
    part = part.trim().replace(/^(\S+)\s+-\s+(\S+)$/, '>=$1 <=$2').replace(/(>=|<=|>|<|\^|~>?|=)\s+/g, '$1');
    let good = true;
    for (const word of part.split(/[\s,]+/).filter(Boolean)) {
      const [, operator, text] = /^(>=|<=|>|<|\^|~>?|=?)(.*)$/.exec(word);
      const found = bounds(operator, text);
      if (!found) return undefined;
      good = good && compare(have, found[0]) >= 0 && compare(have, found[1]) < 0;
    }
    fits = fits || good;
  }
  return fits;
}

function main(file) {
  let about;
  try {
    about = JSON.parse(fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, ''));
  } catch (error) {
    die(`cannot read package.json: ${error.message}`);
  }
  if (typeof about !== 'object' || about === null || Array.isArray(about)) die('cannot read package.json: it is no object');
  const wanted = (about.engines || {}).node;
  if (typeof wanted === 'string') {
    const fits = satisfies(process.version, wanted);
    if (fits === undefined) die(`cannot read engines.node of package.json: ${JSON.stringify(wanted)} is no range of versions`);
    if (!fits) die(`cannot use Node.js ${JSON.stringify(wanted)}, as package.json asks for: this stack has Node.js ${process.version.slice(1)}`);
  }
  const words = Object.keys(about.scripts || {}).filter((n) => /^[\w:.-]+$/.test(n)).map((n) => `script:${n}`);
  if (Object.keys(about.devDependencies || {}).length) words.push('dev');
  if (about.workspaces) words.push('workspaces');
  const versions = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((n) => Object.values(about[n] || {}));
  if (versions.some((v) => /^(file:|link:|git|https?:|[./~])|^[\w-]+\//.test(v))) words.push('links');
  console.log(words.join(' '));
}

module.exports = { satisfies };
if (require.main === module) main(process.argv[2]);
