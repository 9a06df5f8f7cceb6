/**
 * Text to token ids and back: the tokenizer of a model folder and the built-in chat templates.
 *
 * <p>Strings that look like special tokens inside a user's text stay plain text; only what a
 * template writes becomes a special token.
 */
package org.rlhf4j.core.text;
