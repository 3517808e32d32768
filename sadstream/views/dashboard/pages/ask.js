// What the page's server answers; one that goes, even in the middle of its answer, is no error of the page.

export async function ask(path, options) {
  try {
    const answer = await fetch(path, options);
    return answer.ok ? { ok: true, body: await answer.json() } : { ok: false, body: await answer.text() };
  } catch (error) {
    if (error instanceof SyntaxError) throw error; // an answer that is no JSON is one
    return { ok: false, body: "The page's server does not answer." };
  }
}
