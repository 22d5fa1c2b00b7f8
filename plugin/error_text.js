'use strict';

/*
 * Message of what was thrown. Other plugins and hsd itself may throw anything,
 * also nothing.
 */

exports.errorText = function errorText(e) {
  return String((e && e.message) || e);
};
